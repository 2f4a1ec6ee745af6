{% test expect_column_values_to_be_between(
    model, column_name, min_value=none, max_value=none, row_condition=none, strictly=false
) %}

select *
from {{ model }}
where
    not {{ dbt_expectations._is_between(column_name, min_value, max_value, strictly) }}
    {%- if row_condition %}
    and ({{ row_condition }})
    {%- endif %}

{% endtest %}
