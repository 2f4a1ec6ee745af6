-- Sales can call so many leads and no more: how many orders are to be expected from the best tenth,
-- the best two tenths, and so on? The sum of calibrated scores is the expected number of orders.
with predictions as (

    select * from {{ ref('fct_current_predictions') }}
    where task = 'lead_conversion'

),

ranked as (

    select
        score,
        ntile(10) over (order by score desc, entity_id asc) as tenth
    from predictions

),

tenths as (

    select
        tenth,
        count(*) as n_leads,
        min(score) as lowest_score,
        sum(score) as expected_orders
    from ranked
    group by tenth

)

select
    tenth,
    n_leads,
    lowest_score,
    expected_orders,
    sum(n_leads) over best_first as n_leads_so_far,
    sum(expected_orders) over best_first as expected_orders_so_far,
    sum(expected_orders) over best_first / sum(expected_orders) over () as share_of_orders_so_far
from tenths
window best_first as (order by tenth)
order by tenth
