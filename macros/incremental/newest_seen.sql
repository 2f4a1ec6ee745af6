{% macro newest_seen(relation, expression, data_type) -%}
    {#- Asked before the statement is planned: only of a constant does the planner know that next to
        nothing is greater, and takes the index. A unit test gives the name of a CTE instead of a
        relation. -#}
    {%- if execute and relation is not string -%}
        {%- set query = "select cast(" ~ expression ~ " as text) from " ~ relation ~ " as seen" -%}
        {{- sql_literal(run_query(query).rows[0][0], data_type) -}}
    {%- else -%}
        (select {{ expression }} from {{ relation }} as seen)
    {%- endif -%}
{%- endmacro %}
