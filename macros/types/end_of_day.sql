{% macro end_of_day(column) -%}
    (
        (
            {{ dbt.date_trunc('day', reporting_time(column) ~ " - interval '1 microsecond'") }}
            + {{ interval_of(1, 'day') }}
        ) at time zone '{{ var("reporting_timezone") }}'
    )
{%- endmacro %}
