{% macro registry_error(where, value, expected) %}
    {%- do exceptions.raise_compiler_error(
        "dbt_project.yml, vars." ~ where ~ ": " ~ value ~ " is not " ~ expected
    ) -%}
{% endmacro %}
