{%- macro star(
    from, relation_alias=false, except=[], prefix='', suffix='', quote_identifiers=true
) -%}
    {#- No query runs while dbt parses, so the columns are not known yet. -#}
    {%- if not execute -%}
        {{ return('*') }}
    {%- endif -%}

    {%- set names = dbt_utils.get_filtered_columns_in_relation(from, except) -%}
    {%- if not names -%}
        {#- A linter compiles before anything is built, and needs SQL that it can read. -#}
        {{ return('*' if flags.WHICH == 'compile' else '/* star() found no columns */') }}
    {%- endif -%}

    {%- set selected = [] -%}
    {%- for name in names -%}
        {%- set field = adapter.quote(name) if quote_identifiers else name -%}
        {%- set source = relation_alias ~ '.' ~ field if relation_alias else field -%}
        {%- set alias = prefix ~ name ~ suffix -%}
        {%- if alias == name -%}
            {%- do selected.append(source) -%}
        {%- else -%}
            {%- do selected.append(
                source ~ ' as ' ~ (adapter.quote(alias) if quote_identifiers else alias)
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(selected | join(',\n    ')) }}
{%- endmacro -%}
