{% macro outcome_metrics(sums, margin) -%}
    (
        select
            weights.metric,
            {{ outcome_total(
                'weights', sums ~ '.n_converted', sums ~ '.sum_revenue', sums ~ '.sum_redeemed'
            ) }} as total,
            weights.of_conversion * {{ sums }}.n_converted
            + weights.of_revenue * weights.of_revenue * {{ sums }}.sum_squared_revenue
            + 2 * weights.of_revenue * weights.of_redeemed * {{ sums }}.sum_revenue_redeemed
            + weights.of_redeemed * weights.of_redeemed * {{ sums }}.sum_squared_redeemed
                as total_of_squares,
            weights.of_revenue * {{ sums }}.sum_revenue_redeemed
            + weights.of_redeemed * {{ sums }}.sum_squared_redeemed
                as total_by_redeemed
        from {{ outcome_weights(margin) }}
            as weights (metric, of_conversion, of_revenue, of_redeemed)
    )
{%- endmacro %}
