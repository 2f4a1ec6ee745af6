{% macro json_row(alias) -%}
    to_jsonb({{ alias }})
{%- endmacro %}
