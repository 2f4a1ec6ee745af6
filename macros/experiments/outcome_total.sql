{% macro outcome_total(weights, converted, revenue, redeemed) -%}
    (
        {{ weights }}.of_conversion * {{ converted }}
        + {{ weights }}.of_revenue * {{ revenue }}
        + {{ weights }}.of_redeemed * {{ redeemed }}
    )
{%- endmacro %}
