{% macro in_trillionths(expression) -%}
    cast(round(({{ expression }}) * cast(1e12 as double precision)) as bigint)
{%- endmacro %}
