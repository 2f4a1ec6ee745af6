{% macro confidence_sequence_margin(variance, n, n_tuned=5000) -%}
    (
        with sequence_input as materialized (
            select
                cast({{ variance }} as double precision) as variance,
                {{ n }} * {{ confidence_sequence_rho_squared(n_tuned) }} as n_rho_squared
        )

        select sqrt(
            variance * 2 * (n_rho_squared + 1) / n_rho_squared
            * ln(sqrt(n_rho_squared + 1) / 0.05)
        )
        from sequence_input
        -- Where nothing has varied yet, nobody knows how much it will.
        where n_rho_squared > 0 and variance > 0
    )
{%- endmacro %}
