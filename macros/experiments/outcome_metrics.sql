{% macro outcome_metrics(sums, margin) -%}
    {#- An order's amount is what was paid, after the coupon; the margin is of the price before it. -#}
    {%- set m = "cast(" ~ margin ~ " as numeric)" -%}
    (
        values
        ('conversion', cast({{ sums }}.n_converted as numeric), {{ sums }}.n_converted),
        ('revenue', {{ sums }}.sum_revenue, {{ sums }}.sum_squared_revenue),
        (
            'margin',
            {{ m }} * ({{ sums }}.sum_revenue + {{ sums }}.sum_redeemed),
            {{ m }} * {{ m }} * (
                {{ sums }}.sum_squared_revenue + 2 * {{ sums }}.sum_revenue_redeemed
                + {{ sums }}.sum_squared_redeemed
            )
        ),
        (
            'net_money',
            {{ m }} * {{ sums }}.sum_revenue - (1 - {{ m }}) * {{ sums }}.sum_redeemed,
            {{ m }} * {{ m }} * {{ sums }}.sum_squared_revenue
            - 2 * {{ m }} * (1 - {{ m }}) * {{ sums }}.sum_revenue_redeemed
            + (1 - {{ m }}) * (1 - {{ m }}) * {{ sums }}.sum_squared_redeemed
        )
    )
{%- endmacro %}
