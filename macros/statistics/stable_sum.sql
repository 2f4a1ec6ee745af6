{% macro stable_sum(expression) -%}
    cast(sum(cast({{ expression }} as numeric)) as double precision)
{%- endmacro %}
