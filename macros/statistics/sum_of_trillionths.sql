{% macro sum_of_trillionths(expression, where) -%}
    coalesce(sum({{ expression }}) filter (where {{ where }}), 0) * 1e-12
{%- endmacro %}
