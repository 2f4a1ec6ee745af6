{% macro create_change_numbers() %}
    create schema if not exists "{{ target.schema }}";
    create sequence if not exists "{{ target.schema }}".change_numbers;
{% endmacro %}
