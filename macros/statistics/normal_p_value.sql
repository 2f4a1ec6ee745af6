{% macro normal_p_value(z) -%}
    {#- erfc(x) is 2 x exp(-x^2) / pi times the integral of exp(-u^2) / (x^2 + u^2) over u > 0. The
        midpoint rule with steps of a half is exact to the last digit once what the pole at i x adds
        is added. Nothing cancels, so a small p keeps its digits. -#}
    (
        with erfc_input as materialized (
            select cast({{ z }} as double precision) as z
        ),

        erfc_argument as materialized (
            -- Postgres refuses a power that is too small for a double.
            select greatest(least(abs(z), 38), 1e-100) / sqrt(2) as x
            from erfc_input
            where z is not null
        ),

        erfc_integral as (
            select sum(exp(-u * u) / (x * x + u * u)) / 2 as area
            from erfc_argument
            cross join unnest(cast(
                '{0.25,0.75,1.25,1.75,2.25,2.75,3.25,3.75,4.25,4.75,5.25,5.75,6.25}'
                as double precision[]
            )) as erfc_node (u)
        )

        select greatest(
            2 * x * exp(-x * x) / pi() * area
            + case when x < 2 * pi() then 2 / (1 + exp(4 * pi() * x)) else 0 end,
            1e-300
        )
        from erfc_argument
        cross join erfc_integral
    )
{%- endmacro %}
