{% macro json_omit(column, keys) -%}
    ({{ column }} - array['{{ keys | join("', '") }}'])
{%- endmacro %}
