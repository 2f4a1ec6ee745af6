-- How long after landing do leads place their first order? It tells how long the horizon of a label
-- has to be, and until when a reminder is worth sending. Only leads that have been watched for as
-- many days count in a row, or young ones would look slow.
with leads as (

    select * from {{ ref('int_leads') }}

),

orders as (

    select * from {{ ref('int_orders') }}

),

first_orders as (

    select
        leads.user_id,
        leads.landed_at,
        min(orders.ordered_at) as ordered_at
    from leads
    left join orders
        on leads.user_id = orders.user_id and leads.landed_at <= orders.ordered_at
    group by leads.user_id, leads.landed_at

),

days_after_landing as (

    select days_after
    from (values (1), (2), (3), (5), (7), (10), (14), (21), (28)) as v (days_after)

),

counts as (

    select
        days_after_landing.days_after,
        count(*) as n_watched,
        count(*) filter (
            where first_orders.ordered_at
            <= first_orders.landed_at + {{ interval_of('days_after_landing.days_after', 'day') }}
        ) as n_ordered
    from days_after_landing
    inner join first_orders
        on
            first_orders.landed_at
            <= {{ as_of() }} - {{ interval_of('days_after_landing.days_after', 'day') }}
    group by days_after_landing.days_after

)

select
    days_after,
    n_watched,
    n_ordered,
    {{ ratio('n_ordered', 'n_watched') }} as share_ordered
from counts
order by days_after
