{% macro gap_area(lower, upper, gap, n_a, sum_a, n_b, sum_b) -%}
    {#- A value at x adds its share to the curve from x to the upper edge. Below the lowest edge
        both curves begin at 0; above the highest both end at 1, and the rest is counted back. -#}
    case
        when {{ upper }} is null
            then ({{ sum_b }} - {{ n_b }} * {{ lower }}) - ({{ sum_a }} - {{ n_a }} * {{ lower }})
        else
            coalesce(({{ upper }} - {{ lower }}) * ({{ gap }}), 0)
            + ({{ n_a }} * {{ upper }} - {{ sum_a }}) - ({{ n_b }} * {{ upper }} - {{ sum_b }})
    end
{%- endmacro %}
