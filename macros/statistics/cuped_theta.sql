{% macro cuped_theta(n, sum_y, sum_x, sum_squared_x, sum_xy) -%}
    (
        with cuped_input as materialized (
            select
                {{ n }} as n,
                {{ sum_y }} as sum_y,
                {{ sum_x }} as sum_x,
                {{ sum_squared_x }} as sum_squared_x,
                {{ sum_xy }} as sum_xy
        )

        -- Sums of decimals are subtracted as decimals, exactly.
        select {{ ratio('(n * sum_xy - sum_x * sum_y)', '(n * sum_squared_x - sum_x * sum_x)') }}
        from cuped_input
    )
{%- endmacro %}
