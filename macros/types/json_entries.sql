{% macro json_entries(column) -%}
    jsonb_each(case when jsonb_typeof({{ column }}) = 'object' then {{ column }} end)
{%- endmacro %}
