{% macro reporting_date(column) -%}
    cast({{ reporting_time(column) }} as date)
{%- endmacro %}
