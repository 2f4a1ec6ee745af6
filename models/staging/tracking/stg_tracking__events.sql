with source as (

    select * from {{ source('tracking', 'events') }}

),

renamed as (

    select
        delivery_id,
        nullif(trim(event_id), '') as event_id,
        nullif(trim(user_id), '') as user_id,
        nullif(trim(session_id), '') as session_id,

        nullif(trim(event_type), '') as event_type,
        coalesce(properties, '{}') as properties,

        amount,

        occurred_at,
        loaded_at

    from source
    -- A moment in the past sees what had arrived by then, and nothing else.
    where loaded_at <= {{ as_of() }}

)

select * from renamed
