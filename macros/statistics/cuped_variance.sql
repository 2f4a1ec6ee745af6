{% macro cuped_variance(variance_y, variance_x, covariance, theta) -%}
    (
        with cuped_input as materialized (
            select
                {{ variance_y }} as variance_y,
                {{ variance_x }} as variance_x,
                {{ covariance }} as covariance,
                {{ theta }} as theta
        )

        select variance_y - theta * (2 * covariance - theta * variance_x)
        from cuped_input
    )
{%- endmacro %}
