{% macro midnight(date_column) -%}
    (cast({{ date_column }} as timestamp) at time zone '{{ var("reporting_timezone") }}')
{%- endmacro %}
