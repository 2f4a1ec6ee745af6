-- A view, since next to nothing is rejected: whoever asks what was, as a rule of the last few days,
-- is served by the index on `loaded_at`; an increment would look for rejects in all that ever came.
with deliveries as (

    select * from {{ ref('int_deliveries_checked') }}
    where rejection_reason is not null

),

final as (

    select
        delivery_id,
        event_id,
        user_id,
        session_id,

        event_type,
        rejection_reason,
        properties,

        amount,

        occurred_at,
        loaded_at

    from deliveries

)

select * from final
