{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['user_id', 'occurred_at', 'event_id'],
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['user_id', 'occurred_at', 'event_id'], 'unique': true},
            {'columns': ['session_id']},
            {'columns': ['session_started_at']},
            {'columns': ['change_number']},
        ]
    )
}}

{% set columns = [
    'event_id', 'user_id', 'event_type', 'properties', 'amount', 'occurred_at',
] | join(', ') %}
with
{% if is_incremental() %}

new_events as (

    select * from {{ ref('int_events') }}
    where change_number > {{ newest_change_number(this) }}

),

-- One new event can join two visits, or begin one: where nobody told of visits, all of the person's
-- are drawn anew.
touched_visits as (

    select distinct
        user_id,
        session_id
    from new_events
    where {{ holds_what_was_seen(ref('int_events'), this) }}

),

-- Found by their visit, and with the place that they have in it; what is new has none yet.
known_events as (

    select known.*
    from touched_visits
    inner join {{ this }} as known
        on
            touched_visits.user_id = known.user_id
            and touched_visits.session_id = known.session_id
    where not known.is_session_derived

    union all

    select known.*
    from touched_visits
    inner join {{ this }} as known
        on touched_visits.user_id = known.user_id
    where
        touched_visits.session_id is null
        and known.is_session_derived

),

events as (

    select
        {{ columns }},
        session_id,
        cast(null as text) as known_session_id,
        cast(null as bigint) as known_session_event_number,
        cast(null as bigint) as known_change_number
    from new_events

    union all

    select
        {{ columns }},
        case when not is_session_derived then session_id end as session_id,
        session_id as known_session_id,
        session_event_number as known_session_event_number,
        change_number as known_change_number
    from known_events

),

{% endif %}

-- Two CTEs, since of a full refresh one that is read twice would be written to disk.
told_events as (

    select * from {{ 'events' if is_incremental() else ref('int_events') }}
    where session_id is not null

),

untold_events as (

    select * from {{ 'events' if is_incremental() else ref('int_events') }}
    where session_id is null

),

-- Who sends the event tells which visit it belongs to.
told_visits as (

    select
        *,
        session_id as session_name,
        first_value(occurred_at) over visits as session_started_at,
        row_number() over visits as session_event_number
    from told_events
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

{% set drawn = 'session_id, session_started_at, session_event_number' %}
{% if is_incremental() %}
{% set drawn = [
    drawn, 'known_session_id', 'known_session_event_number', 'known_change_number',
] | join(', ') %}
{% endif %}
named as (

    select
        {{ columns }},
        {{ drawn }},
        session_name
    from told_visits

    union all

    select
        {{ columns }},
        {{ drawn }},
        user_id || '@' || {{ seconds_between("timestamptz 'epoch'", 'session_started_at') }}
            as session_name
    from derived_visits

),

final as (

    select
        event_id,
        user_id,
        session_name as session_id,

        event_type,
        properties,

        amount,
        session_event_number,

        session_id is null as is_session_derived,

        occurred_at,
        session_started_at,
        {% if is_incremental() %}
        -- An event that stays in its visit has not changed, though it may have another place in it.
        case
            when known_session_id = session_name then known_change_number
            else {{ next_change_number() }}
        end as change_number
        {% else %}
        {{ next_change_number() }} as change_number
        {% endif %}

    from named
    {% if is_incremental() %}
    -- What keeps its place, and so its visit's beginning, is not written once more.
    where
        known_session_id is distinct from session_name
        or known_session_event_number != session_event_number
    {% endif %}

)

select * from final
