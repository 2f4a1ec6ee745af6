{% macro exact_sum(expression, where) -%}
    {#- Integers add up to the same number in any order; doubles do not. -#}
    coalesce(sum(cast(round(({{ expression }}) * 1e12) as bigint)) filter (where {{ where }}), 0)
    * 1e-12
{%- endmacro %}
