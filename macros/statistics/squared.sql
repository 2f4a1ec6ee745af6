{% macro squared(expression) -%}
    {#- Postgres refuses a square that is too small for a double; this one is as good as 0. -#}
    power(greatest(abs({{ expression }}), 1e-100), 2)
{%- endmacro %}
