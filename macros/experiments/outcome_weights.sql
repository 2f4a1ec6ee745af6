{% macro outcome_weights(margin) -%}
    {#- An order's amount is what was paid, after the coupon; the margin is of the price before
        it. -#}
    {%- set m = "cast(" ~ margin ~ " as numeric)" -%}
    (
        values
        ('conversion', 1, 0, 0),
        ('revenue', 0, 1, 0),
        ('margin', 0, {{ m }}, {{ m }}),
        ('net_money', 0, {{ m }}, {{ m }} - 1)
    )
{%- endmacro %}
