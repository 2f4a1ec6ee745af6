{% macro registry_check_fields(where, entry, known) %}
    {%- if entry is not mapping -%}
        {%- do registry_error(where, entry, "a map of fields") -%}
    {%- endif -%}
    {%- for field in entry if field not in known -%}
        {%- do registry_error(where, field, "a known field: " ~ known | join(", ")) -%}
    {%- endfor -%}
{% endmacro %}
