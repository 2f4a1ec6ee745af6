{% macro json_object_agg(key, value) -%}
    jsonb_object_agg({{ key }}, {{ value }})
{%- endmacro %}
