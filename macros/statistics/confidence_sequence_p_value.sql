{% macro confidence_sequence_p_value(estimate, variance, n, n_tuned=5000) -%}
    {#- The alpha whose bound would be 0, by solving confidence_sequence_margin for it. -#}
    (
        with sequence_input as materialized (
            select
                {{ ratio(estimate, 'sqrt(' ~ variance ~ ')') }} as z,
                {{ n }} * {{ confidence_sequence_rho_squared(n_tuned) }} as n_rho_squared
        )

        select greatest(least(
            sqrt(n_rho_squared + 1)
            * exp(greatest(-z * z / 2 * n_rho_squared / (n_rho_squared + 1), -700)),
            1
        ), 1e-300)
        from sequence_input
        where z is not null and n_rho_squared > 0
    )
{%- endmacro %}
