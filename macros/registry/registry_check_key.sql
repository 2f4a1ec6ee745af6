{% macro registry_check_key(where, name) %}
    {%- if not modules.re.fullmatch('[a-z][a-z0-9_]*', name | string) -%}
        {%- do registry_error(where, name, "a name in snake_case") -%}
    {%- endif -%}
{% endmacro %}
