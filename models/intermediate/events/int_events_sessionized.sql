{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['user_id', 'occurred_at', 'event_id'],
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['user_id', 'occurred_at']},
            {'columns': ['session_id']},
            {'columns': ['session_started_at']},
            {'columns': ['change_number']},
        ]
    )
}}

-- Two CTEs, since one that is read twice would be written to disk.
with told_events as (

    select * from {{ ref('int_events') }}
    where session_id is not null

),

untold_events as (

    select * from {{ ref('int_events') }}
    where session_id is null

),

{% if is_incremental() %}

-- One new event can join two visits, or begin one: where nobody told of visits, all of the person's
-- are drawn anew.
touched_visits as (

    select distinct
        user_id,
        session_id
    from {{ ref('int_events') }}
    where change_number > {{ newest_change_number(this) }}

),

{% endif %}

-- Who sends the event tells which visit it belongs to.
told_visits as (

    select
        *,
        session_id as session_name,
        first_value(occurred_at) over visits as session_started_at,
        row_number() over visits as session_event_number
    from told_events
    {% if is_incremental() %}
    where
        (user_id, session_id) in (
            select
                touched_visits.user_id,
                touched_visits.session_id
            from touched_visits
        )
    {% endif %}
    window visits as (
        partition by user_id, session_id
        order by occurred_at, event_id
    )

),

-- Nobody told: a visit ends where the person pauses for long.
with_pauses as (

    select
        *,
        row_number() over person as person_event_number,
        coalesce(
            occurred_at - lag(occurred_at) over person
            > {{ interval_of(var('session_timeout_minutes'), 'minute') }},
            true
        ) as is_first_of_visit
    from untold_events
    {% if is_incremental() %}
    where
        user_id in (
            select touched_visits.user_id
            from touched_visits
            where touched_visits.session_id is null
        )
    {% endif %}
    window person as (
        partition by user_id
        order by occurred_at, event_id
    )

),

-- Of the newest event so far that began a visit: in the same order, so that nothing is sorted anew.
derived_visits as (

    select
        *,
        max(case when is_first_of_visit then occurred_at end) over so_far as session_started_at,
        person_event_number
        - max(case when is_first_of_visit then person_event_number end) over so_far
        + 1 as session_event_number
    from with_pauses
    window so_far as (
        partition by user_id
        order by occurred_at, event_id
        rows unbounded preceding
    )

),

{% set columns = [
    'event_id', 'user_id', 'session_id', 'event_type', 'properties', 'amount', 'occurred_at',
    'session_started_at', 'session_event_number',
] | join(', ') %}
named as (

    select
        {{ columns }},
        session_name
    from told_visits

    union all

    select
        {{ columns }},
        user_id || '@' || {{ seconds_between("timestamptz 'epoch'", 'session_started_at') }}
            as session_name
    from derived_visits

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
