{% macro sample_covariance(n, sum_a, sum_b, sum_ab) -%}
    (
        with covariance_input as materialized (
            select
                {{ n }} as n,
                {{ sum_a }} as sum_a,
                {{ sum_b }} as sum_b,
                {{ sum_ab }} as sum_ab
        )

        -- Sums of decimals are subtracted as decimals, exactly.
        select {{ ratio('(n * sum_ab - sum_a * sum_b)', '(1.0 * n * (n - 1))') }}
        from covariance_input
    )
{%- endmacro %}
