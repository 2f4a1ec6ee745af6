-- What arrived on each of the last days, and what became of it: the first thing to look at when a
-- number looks wrong in the morning.
with deliveries as (

    select * from {{ ref('int_deliveries_checked') }}

),

events as (

    select * from {{ ref('int_events') }}

),

outcomes as (

    select
        {{ reporting_date('deliveries.loaded_at') }} as loaded_date,
        case
            when deliveries.rejection_reason is not null
                then 'quarantined: ' || deliveries.rejection_reason
            when events.delivery_id is null then 'duplicate'
            when not deliveries.is_known_type then 'kept, of an unknown type'
            else 'kept'
        end as outcome
    from deliveries
    left join events
        on deliveries.delivery_id = events.delivery_id

)

select
    loaded_date,
    outcome,
    count(*) as n_deliveries
from outcomes
where loaded_date > {{ reporting_date(as_of()) }} - 7
group by loaded_date, outcome
order by loaded_date desc, outcome asc
