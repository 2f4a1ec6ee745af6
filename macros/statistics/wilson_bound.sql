{% macro wilson_bound(successes, trials, side) -%}
    (
        with wilson_input as materialized (
            select
                cast({{ successes }} as double precision) as k,
                cast({{ trials }} as double precision) as n,
                {{ normal_quantile('0.975') }} as z
        ),

        wilson_sums as materialized (
            select
                k / n as p,
                z * z / n as z2_over_n,
                k / n + z * z / n / 2 + z * sqrt((k / n * (1 - k / n) + z * z / n / 4) / n) as total
            from wilson_input
            where n > 0
        )

        {% if side == 'lower' -%}
        -- The product of both bounds is p^2 / (1 + z^2 / n), so that nothing cancels here.
        select p * p / total
        {%- else -%}
        -- Without rounding it would never be below the rate, nor above 1.
        select least(greatest(total / (1 + z2_over_n), p), 1)
        {%- endif %}
        from wilson_sums
    )
{%- endmacro %}
