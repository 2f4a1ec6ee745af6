with events as (

    select * from {{ ref('int_events_sessionized') }}

),

orders as (

    select
        event_id as order_id,
        user_id,
        session_id,

        amount,

        occurred_at as ordered_at,
        change_number

    from events
    where event_type = 'order_completed'

)

select * from orders
