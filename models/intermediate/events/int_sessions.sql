with events as (

    select * from {{ ref('int_events_sessionized') }}

),

-- Where several people send one session_id (somebody signs in, say), it is one visit all the same,
-- and belongs to the person of its first event.
visits as (

    select
        session_id,
        (array_agg(user_id order by occurred_at, event_id))[1] as user_id,

        count(*) as n_events,

        bool_and(is_session_derived) as is_session_derived,

        min(occurred_at) as started_at,
        max(occurred_at) as ended_at

    from events
    group by session_id

)

select * from visits
