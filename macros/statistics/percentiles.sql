{% macro percentiles(expression) -%}
    percentile_cont(array[
        {%- for percent in range(101) %}{{ percent / 100 }}{{ ", " if not loop.last }}{% endfor -%}
    ]) within group (order by cast({{ expression }} as double precision))
{%- endmacro %}
