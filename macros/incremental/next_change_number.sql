{% macro next_change_number() %}
    {#- The scalar subquery makes Postgres draw one number for the whole statement. -#}
    (select nextval('"{{ target.schema }}".change_numbers'))
{%- endmacro %}
