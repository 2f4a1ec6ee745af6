{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['user_id', 'occurred_at', 'event_id'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['user_id', 'occurred_at']},
            {'columns': ['session_id']},
            {'columns': ['session_started_at']},
            {'columns': ['change_number']},
            {'columns': ['event_type', 'change_number']},
        ]
    )
}}

with events as (

    select * from {{ ref('int_events') }}
    {% if is_incremental() %}
    -- One new event can join two visits, or begin one: the person's visits are drawn anew.
    where
        user_id in (
            select new_events.user_id
            from {{ ref('int_events') }} as new_events
            where new_events.change_number > {{ newest_change_number(this) }}
        )
    {% endif %}

),

with_gaps as (

    select
        *,
        lag(occurred_at) over (
            partition by user_id, session_id
            order by occurred_at, event_id
        ) as previous_occurred_at
    from events

),

with_starts as (

    select
        *,
        case
            when session_id is not null then 0
            when previous_occurred_at is null then 1
            when
                occurred_at - previous_occurred_at
                > {{ interval_of(var('session_timeout_minutes'), 'minute') }}
                then 1
            else 0
        end as is_session_start
    from with_gaps

),

with_numbers as (

    select
        *,
        sum(is_session_start) over (
            partition by user_id, session_id
            order by occurred_at, event_id
            rows between unbounded preceding and current row
        ) as session_number
    from with_starts

),

with_session_starts as (

    select
        *,
        min(occurred_at) over (
            partition by user_id, session_id, session_number
        ) as session_started_at
    from with_numbers

),

named as (

    select
        *,
        coalesce(
            session_id,
            user_id || '@' || {{ seconds_between("timestamptz 'epoch'", 'session_started_at') }}
        ) as session_name,
        row_number() over (
            partition by user_id, session_id, session_number
            order by occurred_at, event_id
        ) as session_event_number
    from with_session_starts

),

final as (

    select
        named.event_id,
        named.user_id,
        named.session_name as session_id,

        named.event_type,
        named.properties,

        named.amount,
        named.session_event_number,

        named.session_id is null as is_session_derived,

        named.occurred_at,
        named.session_started_at,
        {% if is_incremental() %}
        -- An event that stays in its visit has not changed, though it may have another place in it.
        case
            when known.session_id = named.session_name then known.change_number
            else {{ next_change_number() }}
        end as change_number
        {% else %}
        {{ next_change_number() }} as change_number
        {% endif %}

    from named
    {% if is_incremental() %}
    left join {{ this }} as known
        on
            named.user_id = known.user_id
            and named.occurred_at = known.occurred_at
            and named.event_id = known.event_id
    -- What stays as it is is not written once more.
    where
        known.session_id is distinct from named.session_name
        or known.session_started_at != named.session_started_at
        or known.session_event_number != named.session_event_number
    {% endif %}

)

select * from final
