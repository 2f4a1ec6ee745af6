{% macro interval_of(n, datepart) -%}
    {#- A day is 24 hours: calendar days would depend on the time zone of whoever asks. -#}
    {{ n }} * interval '{{ '24 hour' if datepart == 'day' else '1 ' ~ datepart }}'
{%- endmacro %}
