{% macro student_t_p_value(t, degrees_of_freedom) -%}
    {#- Student's t is a normal deviate over the root of a mean square, so the p is the mean of the
        integral in normal_p_value: with x = t^2 / nu, sqrt(x / (1 + x)) (1 + x)^(-nu / 2) 2 / pi
        times the integral of cosh(v)^(1 - nu) / (x / (1 + x) + sinh(v)^2) over v > 0, whose pole is
        at i atan(sqrt(x)). There is no gamma function in it, and nothing cancels. -#}
    (
        with student_input as materialized (
            select
                abs(cast({{ t }} as double precision)) as t,
                cast({{ degrees_of_freedom }} as double precision) as nu
        ),

        student_scaled as materialized (
            select
                nu,
                0.6 / sqrt(nu + 7) as step,
                -- Postgres refuses a square that is too small or too large for a double.
                power(greatest(least(t, 1e100), 1e-100), 2) / nu as x
            from student_input
            where t is not null and nu between 1 and 1e100
        )

        select p_value
        from student_scaled
        cross join lateral (
            select greatest(
                2 * sqrt(x / (1 + x)) / pi() * step * sum(weight / (x / (1 + x) + s))
                -- The logarithm of 1 + x, to the last digit for small x too.
                * exp(greatest(-nu / 2 * asinh(x * (1 + 1 / (1 + x)) / 2), -690))
                + case
                    when atan(sqrt(x)) < 7 * step
                        then 2 / (1 + exp(2 * pi() * atan(sqrt(x)) / step))
                    else 0
                end,
                1e-300
            ) as p_value
            from {{ student_t_nodes() }} as student_node
        ) as student_tails
    )
{%- endmacro %}
