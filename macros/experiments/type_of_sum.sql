{% macro type_of_sum(name) -%}
    {{- 'bigint' if name.startswith('n_') else 'numeric' -}}
{%- endmacro %}
