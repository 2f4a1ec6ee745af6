{% macro reference_tenth(n_below, n_reference) -%}
    {#- What lies above the whole reference belongs to its highest tenth. -#}
    cast(1 + least(9, div(10 * {{ n_below }}, {{ n_reference }})) as integer)
{%- endmacro %}
