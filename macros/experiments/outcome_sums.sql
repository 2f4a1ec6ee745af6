{% macro outcome_sums() -%}
    count(*) as n_assigned,
    count(*) filter (where label_status = 'pending') as n_pending,
    count(*) filter (where is_mature) as n_mature,
    count(*) filter (where is_converted) as n_converted,
    coalesce(sum(outcome_amount) filter (where has_revenue), 0) as sum_revenue,
    coalesce(sum(outcome_amount * outcome_amount) filter (where has_revenue), 0)
        as sum_squared_revenue,
    coalesce(sum(redeemed_amount) filter (where has_redeemed), 0) as sum_redeemed,
    coalesce(sum(redeemed_amount * redeemed_amount) filter (where has_redeemed), 0)
        as sum_squared_redeemed,
    coalesce(sum(outcome_amount * redeemed_amount) filter (where has_redeemed), 0)
        as sum_revenue_redeemed
{%- endmacro %}
