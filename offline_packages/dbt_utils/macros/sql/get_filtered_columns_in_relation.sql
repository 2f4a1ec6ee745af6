{%- macro get_filtered_columns_in_relation(from, except=[]) -%}
    {%- if not execute -%}
        {{ return([]) }}
    {%- endif -%}
    {%- if from.is_cte -%}
        {{ exceptions.raise_compiler_error(
            "The columns of " ~ from ~ " cannot be read: it is ephemeral and not in the database."
        ) }}
    {%- endif -%}

    {%- set excluded = except | map("lower") | list -%}
    {%- set kept = [] -%}
    {%- for column in adapter.get_columns_in_relation(from)
        if column.name | lower not in excluded -%}
        {%- do kept.append(column.name) -%}
    {%- endfor -%}
    {{ return(kept) }}
{%- endmacro -%}
