{% macro exact_sum(expression, where) -%}
    {#- Integers add up to the same number in any order; doubles do not. -#}
    coalesce(sum({{ in_trillionths(expression) }}) filter (where {{ where }}), 0) * 1e-12
{%- endmacro %}
