{% macro euclidean_norm(expression) -%}
    {#- Over the rows of a group, in whatever order they come. -#}
    sqrt(cast(sum(cast(power({{ expression }}, 2) as numeric)) as double precision))
{%- endmacro %}
