{% macro json_number(column, key) -%}
    cast(jsonb_path_query_first(
        {{ column }} -> {{ key }}, 'strict $ ? ({{ json_number_condition() }})'
    ) as numeric)
{%- endmacro %}
