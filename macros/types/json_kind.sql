{% macro json_kind(column) -%}
    jsonb_typeof({{ column }})
{%- endmacro %}
