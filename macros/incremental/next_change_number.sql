{% macro next_change_number() -%}
    {#- Drawn before the statement begins: were it drawn within, Postgres would run the statement on
        one core, and write what it finds to disk once more. -#}
    {%- if execute and flags.WHICH in ['run', 'build'] -%}
        {%- set query -%}
            select nextval('"{{ target.schema }}".change_numbers')
        {%- endset -%}
        {{- sql_literal(run_query(query).rows[0][0], 'bigint') -}}
    {%- else -%}
        cast(0 as bigint)
    {%- endif -%}
{%- endmacro %}
