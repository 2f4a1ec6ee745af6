{% test expect_compound_columns_to_be_unique(
    model,
    column_list,
    quote_columns=false,
    ignore_row_if='all_values_are_missing',
    row_condition=none
) %}

{%- set operators = {'all_values_are_missing': ' or ', 'any_value_is_missing': ' and '} -%}
{%- if ignore_row_if not in operators -%}
    {{ exceptions.raise_compiler_error(
        "ignore_row_if is '" ~ ignore_row_if ~ "', but has to be one of "
        ~ operators | join(', ') ~ "."
    ) }}
{%- endif -%}

{%- set columns = [] -%}
{%- set present = [] -%}
{%- for name in column_list -%}
    {%- set column = adapter.quote(name) if quote_columns else name -%}
    {%- do columns.append(column) -%}
    {%- do present.append(column ~ ' is not null') -%}
{%- endfor -%}

select
    {{ columns | join(', ') }},
    count(*) as n_records
from {{ model }}
where
    ({{ present | join(operators[ignore_row_if]) }})
    {%- if row_condition %}
    and ({{ row_condition }})
    {%- endif %}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
