{% macro confidence_sequence_rho_squared(n_tuned) -%}
    {#- For bounds of 95 % that are tightest at n_tuned observations. -#}
    cast((-2 * ln(0.05) + ln(1 - 2 * ln(0.05))) / {{ n_tuned }} as double precision)
{%- endmacro %}
