{% macro json_text(column, key) -%}
    ({{ column }} ->> {{ key }})
{%- endmacro %}
