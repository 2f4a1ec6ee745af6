{% test expect_table_row_count_to_be_between(model, min_value=none, max_value=none) %}

select count(*) as n_rows
from {{ model }}
having not {{ dbt_expectations._is_between('count(*)', min_value, max_value) }}

{% endtest %}
