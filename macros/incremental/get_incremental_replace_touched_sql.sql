{% macro get_incremental_replace_touched_sql(arg_dict) %}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set key = arg_dict["unique_key"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}

    delete from {{ target }}
    where {{ key }} in (select touched.{{ key }} from {{ source }} as touched);

    insert into {{ target }} ({{ columns }})
    select {{ columns }}
    from {{ source }}
    where as_of_at is not null
{% endmacro %}
