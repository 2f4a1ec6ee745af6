{% macro registry_check_moment(where, value) %}
    {%- set day = '\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])' -%}
    {%- set time = '([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d)?(Z|[+-]\\d\\d(:?\\d\\d)?)?' -%}
    {%- if not modules.re.fullmatch(day ~ '([ T]' ~ time ~ ')?', value | string) -%}
        {%- do registry_error(where, value, "a day or a moment, such as 2026-01-31") -%}
    {%- endif -%}
{% endmacro %}
