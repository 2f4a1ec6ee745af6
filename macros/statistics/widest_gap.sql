{% macro widest_gap(left, right, other_left, other_right) -%}
    {#- Both curves rise, so they are furthest apart if one rises at once and the other at last. -#}
    greatest({{ right }} - {{ other_left }}, {{ other_right }} - {{ left }})
{%- endmacro %}
