{% macro exact_sum(expression, where) -%}
    {#- Integers add up to the same number in any order; doubles do not. -#}
    {{ sum_of_trillionths(in_trillionths(expression), where) }}
{%- endmacro %}
