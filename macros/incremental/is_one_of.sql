{% macro is_one_of(expression, query) -%}
    {#- Asked once, before the rows are read; `in` would be a join, after what is made of them. -#}
    {{ expression }} = any(array({{ query }}))
{%- endmacro %}
