{%- macro generate_surrogate_key(field_list) -%}
    {%- set null_text = "'_dbt_utils_surrogate_key_null_'" -%}
    {%- set texts = [] -%}
    {%- for field in field_list -%}
        {%- set text = "cast(" ~ field ~ " as " ~ dbt.type_string() ~ ")" -%}
        {%- do texts.append("coalesce(" ~ text ~ ", " ~ null_text ~ ")") -%}
    {%- endfor -%}
    {{ dbt.hash(texts | join(" || '-' || ")) }}
{%- endmacro -%}
