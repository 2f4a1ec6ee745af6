{% macro start_of_day(column) -%}
    (
        {{ dbt.date_trunc('day', reporting_time(column)) }}
        at time zone '{{ var("reporting_timezone") }}'
    )
{%- endmacro %}
