{% macro json_number(column, key) -%}
    {{ json_scalar_number(column ~ " -> " ~ key) }}
{%- endmacro %}
