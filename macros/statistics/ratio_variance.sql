{% macro ratio_variance(
    numerator, numerator_variance, denominator, denominator_variance, covariance='0'
) -%}
    (
        with ratio_input as materialized (
            select
                cast({{ numerator }} as double precision) as a,
                cast({{ numerator_variance }} as double precision) as variance_a,
                nullif(cast({{ denominator }} as double precision), 0) as b,
                cast({{ denominator_variance }} as double precision) as variance_b,
                cast({{ covariance }} as double precision) as covariance
        )

        select (variance_a + a / b * (a / b * variance_b - 2 * covariance)) / b / b
        from ratio_input
    )
{%- endmacro %}
