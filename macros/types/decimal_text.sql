{% macro decimal_text(expression, digits=2) -%}
    cast(round(cast({{ expression }} as numeric), {{ digits }}) as text)
{%- endmacro %}
