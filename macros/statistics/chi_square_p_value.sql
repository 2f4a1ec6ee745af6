{% macro chi_square_p_value(chi_square, degrees_of_freedom) -%}
    {#- For even degrees of freedom, exp(-x / 2) times the sum of x^(i / 2) / i!! over i = nu - 2,
        nu - 4, ..., 0; for odd ones sqrt(2 / pi) times as much, down to 1, and a normal p. -#}
    (
        with chi_square_input as materialized (
            select
                cast({{ chi_square }} as double precision) as chi_square,
                cast({{ degrees_of_freedom }} as integer) as nu
        ),

        chi_square_scaled as materialized (
            -- The logarithm of 0 is no number, and beyond 2,000 every p is below 1e-300.
            select
                greatest(least(chi_square, 2000), 1e-300) as x,
                nu
            from chi_square_input
            where chi_square >= 0 and nu between 1 and 20
        ),

        chi_square_terms as (
            select sum(exp(greatest((n - 1) * ln(x) / 2 - x / 2, -700)) / double_factorial) as total
            from chi_square_scaled
            cross join unnest(cast('{
                1, 1, 2, 3, 8, 15, 48, 105, 384, 945, 3840, 10395, 46080, 135135, 645120, 2027025,
                10321920, 34459425, 185794560
            }' as double precision[])) with ordinality as double_factorials (double_factorial, n)
            where n < nu and mod(nu - n, 2) = 1
        )

        select greatest(
            case
                when mod(nu, 2) = 0 then total
                else {{ normal_p_value('sqrt(x)') }} + sqrt(2 / pi()) * coalesce(total, 0)
            end,
            1e-300
        )
        from chi_square_scaled
        cross join chi_square_terms
    )
{%- endmacro %}
