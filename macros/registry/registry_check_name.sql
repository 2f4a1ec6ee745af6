{% macro registry_check_name(where, value) %}
    {%- if value is not string or value | trim == '' -%}
        {%- do registry_error(where, value, "a name") -%}
    {%- endif -%}
{% endmacro %}
