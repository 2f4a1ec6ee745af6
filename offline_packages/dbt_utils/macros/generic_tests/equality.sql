{% test equality(model, compare_model, compare_columns=none, exclude_columns=none) %}

{%- if compare_columns and exclude_columns -%}
    {{ exceptions.raise_compiler_error(
        "equality takes compare_columns or exclude_columns, not both."
    ) }}
{%- endif -%}

{%- if compare_columns -%}
    {%- set columns = compare_columns -%}
{%- else -%}
    {%- set names = dbt_utils.get_filtered_columns_in_relation(model, exclude_columns or []) -%}
    {%- set other_names = dbt_utils.get_filtered_columns_in_relation(
        compare_model, exclude_columns or []
    ) -%}
    {%- if names | sort != other_names | sort -%}
        {{ exceptions.raise_compiler_error(
            model ~ " and " ~ compare_model ~ " have different columns: choose the ones to compare "
            ~ "with compare_columns or exclude_columns."
        ) }}
    {%- endif -%}
    {%- set columns = [] -%}
    {%- for name in names -%}
        {%- do columns.append(adapter.quote(name)) -%}
    {%- endfor -%}
{%- endif -%}
{%- set column_list = columns | join(', ') -%}

(
    select {{ column_list }} from {{ model }}
    except
    select {{ column_list }} from {{ compare_model }}
)
union all
(
    select {{ column_list }} from {{ compare_model }}
    except
    select {{ column_list }} from {{ model }}
)

{% endtest %}
