{% macro exact_mean(expression) -%}
    {#- Decimals add up to the same number in any order; doubles do not. -#}
    cast(avg(cast({{ expression }} as numeric)) as double precision)
{%- endmacro %}
