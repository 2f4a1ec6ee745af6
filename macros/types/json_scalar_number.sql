{% macro json_scalar_number(value) -%}
    cast(jsonb_path_query_first(
        {{ value }}, 'strict $ ? ({{ json_number_condition() }})'
    ) as numeric)
{%- endmacro %}
