{% macro registry_check_choice(where, value, allowed) %}
    {%- if value not in allowed -%}
        {%- do registry_error(where, value, "one of " ~ allowed | join(", ")) -%}
    {%- endif -%}
{% endmacro %}
