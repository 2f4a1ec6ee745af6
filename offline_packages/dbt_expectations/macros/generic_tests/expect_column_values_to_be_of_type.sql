{% test expect_column_values_to_be_of_type(model, column_name, column_type) %}

{%- set types = [] -%}
{%- if execute -%}
    {%- for column in adapter.get_columns_in_relation(model)
        if column.name | lower == column_name | lower -%}
        {%- do types.append(column.dtype | lower) -%}
    {%- endfor -%}
{%- endif -%}

select
    '{{ column_name }}' as column_name,
    '{{ types | first }}' as column_type
where {{ (column_type | lower) not in types }}

{% endtest %}
