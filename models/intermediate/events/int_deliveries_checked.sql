with deliveries as (

    select * from {{ ref('stg_tracking__events') }}

),

event_types as (

    select * from {{ ref('event_types') }}

),

checked as (

    select
        deliveries.*,
        event_types.event_type is not null as is_known_type,
        case
            when deliveries.event_id is null then 'event_id is missing'
            when deliveries.event_type is null then 'event_type is missing'
            when deliveries.user_id is null then 'user_id is missing'
            when deliveries.occurred_at is null then 'occurred_at is missing'
            when deliveries.occurred_at = cast('-infinity' as timestamptz)
                then 'occurred_at is not a time'
            -- Clocks of devices are a little off; a day is more than that.
            when deliveries.occurred_at > deliveries.loaded_at + {{ interval_of(1, 'day') }}
                then 'occurred_at is over a day after loaded_at'
            when {{ json_kind('deliveries.properties') }} != 'object'
                then 'properties is not an object'
            when deliveries.amount in ('NaN', 'Infinity', '-Infinity')
                then 'amount is not a finite number'
            -- Sums of amounts are computed with as doubles, which hold no more.
            when
                deliveries.amount != 0
                and abs(deliveries.amount) not between 1e-100 and 1e100
                then 'amount is out of range'
            when event_types.requires_amount and deliveries.amount is null
                then 'amount is missing'
            when deliveries.amount < event_types.minimum_amount
                then 'amount is below the minimum of its type'
        end as rejection_reason

    from deliveries
    left join event_types
        on deliveries.event_type = event_types.event_type

)

select * from checked
