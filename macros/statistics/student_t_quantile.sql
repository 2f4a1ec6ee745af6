{% macro student_t_quantile(probability, degrees_of_freedom) -%}
    {#- Newton's method on the logarithm of the p (see student_t_p_value) for
        r = sqrt(nu ln(1 + t^2 / nu)). It begins above the root, since the p is at most
        exp(-r^2 / 2), and comes down to it. -#}
    (
        with recursive student_input as materialized (
            select
                cast({{ probability }} as double precision) as p,
                cast({{ degrees_of_freedom }} as double precision) as nu
        ),

        student_scaled as materialized (
            select
                nu,
                0.6 / sqrt(nu + 7) as step,
                sign(p - 0.5) as side,
                greatest(least(p, 1 - p), 1e-100) as tail
            from student_input
            where p > 0 and p < 1 and nu between 1 and 1e100
        ),

        student_nodes as materialized (
            select
                student_node.s,
                student_node.weight
            from student_scaled
            cross join lateral {{ student_t_nodes() }} as student_node
        ),

        student_densities as materialized (
            select sum(weight / (1 + s)) as density
            from student_nodes
        ),

        student_approximations (n_steps, previous_r, r) as (
            select
                0,
                cast('infinity' as double precision),
                -- Not 0, by which a step would divide.
                greatest(sqrt(-2 * ln(2 * tail)), 1e-50)
            from student_scaled
            union all
            select
                n_steps + 1,
                r,
                r + (ln(ratio) - r * r / 2 - ln(2 * tail))
                * ratio * pi() * sqrt(x / (1 + x)) / (2 * r * step * density)
            from student_approximations
            cross join student_scaled
            cross join student_densities
            cross join lateral (
                select 2 * exp(r * r / nu / 2) * sinh(r * r / nu / 2) as x
                limit 1
            ) as student_squares
            -- Of the p to exp(-r^2 / 2).
            cross join lateral (
                select
                    2 * sqrt(x / (1 + x)) / pi() * step * sum(weight / (x / (1 + x) + s)) + case
                        when atan(sqrt(x)) < 7 * step
                            then 2 * exp(r * r / 2) / (1 + exp(2 * pi() * atan(sqrt(x)) / step))
                        else 0
                    end as ratio
                from student_nodes
            ) as student_tails
            where abs(r - previous_r) > 1e-7 and n_steps < 20
        )

        select side * sqrt(nu * 2 * exp(r * r / nu / 2) * sinh(r * r / nu / 2))
        from student_approximations
        cross join student_scaled
        order by n_steps desc
        limit 1
    )
{%- endmacro %}
