with events as (

    select * from {{ ref('int_events_sessionized') }}

),

sessions as (

    select
        user_id,
        session_id,

        count(*) as n_events,

        is_session_derived,

        session_started_at as started_at,
        max(occurred_at) as ended_at

    from events
    group by user_id, session_id, is_session_derived, session_started_at

)

select * from sessions
