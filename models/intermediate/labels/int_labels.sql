{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['label_name', 'entity_id', 'as_of_at'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['label_name', 'entity_id', 'as_of_at'], 'unique': true},
            {'columns': ['label_status', 'horizon_ends_at']},
            {'columns': ['change_number']},
            {'columns': ['delivery_id']},
            {'columns': ['loaded_at']},
        ]
    )
}}

with rules as (

    select * from {{ ref('int_label_rules') }}

),

{% if is_incremental() %}

-- A rule that came into the registry since: everybody who asked for it is answered.
new_rules as (

    select label_name
    from rules
    where
        not exists (
            select 1 from {{ this }} as known
            where known.label_name = rules.label_name
        )

),

-- Three questions and not one with three conditions, for which the planner would read all that was
-- ever asked.
new_requests as (

    select * from {{ ref('int_label_requests') }}
    where change_number > {{ newest_change_number(this) }}

    union all

    select * from {{ ref('int_label_requests') }}
    where {{ arrived_since(this) }}

    union all

    select of_rule.*
    from new_rules
    cross join
        lateral (
            select requests.*
            from {{ ref('int_label_requests') }} as requests
            where requests.label_name = new_rules.label_name
            offset 0 -- noqa: AM09
        ) as of_rule

),

{% endif %}

requests as (

    select
        label_name,
        entity_id,
        as_of_at,
        max(delivery_id) as delivery_id,
        max(loaded_at) as loaded_at
    {% if is_incremental() %}
    from new_requests
    {% else %}
    from {{ ref('int_label_requests') }}
    {% endif %}
    -- A prediction for a task that the registry does not know has no label.
    where label_name in (select rules.label_name from rules)
    group by label_name, entity_id, as_of_at

),

{% if is_incremental() %}

-- Late outcomes are asked of the model and not of the CTE, which Postgres would write to disk if it
-- were read twice.
touched as (

    -- Asked for since, for the first time or once more.
    select requests.*
    from requests
    -- One by one through the index: left to itself, the planner would read the whole table.
    left join
        lateral (
            select
                known.label_name,
                known.delivery_id
            from {{ this }} as known
            where
                known.label_name = requests.label_name
                and known.entity_id = requests.entity_id
                and known.as_of_at = requests.as_of_at
            offset 0 -- noqa: AM09
        ) as known
        on true
    where
        known.label_name is null
        or requests.delivery_id > coalesce(known.delivery_id, -1)

    union all

    -- Came of age since.
    select
        label_name,
        entity_id,
        as_of_at,
        delivery_id,
        loaded_at
    from {{ this }}
    where label_status = 'pending' and horizon_ends_at <= {{ as_of() }}

    union all

    -- An outcome arrived after the label had come of age.
    select
        known.label_name,
        known.entity_id,
        known.as_of_at,
        known.delivery_id,
        known.loaded_at
    from {{ ref('int_events_sessionized') }} as events
    inner join rules
        on rules.outcome_event in (events.event_type, '*')
    inner join {{ this }} as known
        on
            rules.label_name = known.label_name
            and known.entity_id
            = case rules.entity when 'user' then events.user_id else events.session_id end
            and events.occurred_at > known.as_of_at
            and events.occurred_at <= known.horizon_ends_at
    where
        events.change_number > {{ newest_change_number(this) }}
        -- Most of what is new happened after the last label that had come of age.
        and events.occurred_at <= (
            select max(aged.horizon_ends_at)
            from {{ this }} as aged
            where aged.label_status = 'mature'
        )
        and known.label_status = 'mature'

),

selected_requests as (

    select
        label_name,
        entity_id,
        as_of_at,
        max(delivery_id) as delivery_id,
        max(loaded_at) as loaded_at
    from touched
    group by label_name, entity_id, as_of_at

),

{% endif %}

horizons as (

    select
        selected.*,
        rules.entity,
        rules.outcome_event,
        rules.label_rule,
        selected.as_of_at + {{ interval_of('rules.horizon_days', 'day') }} as horizon_ends_at
    from {{ 'selected_requests' if is_incremental() else 'requests' }} as selected
    inner join rules
        on selected.label_name = rules.label_name

),

windows as (

    select
        *,
        -- A positive that came early waits for the negatives of its day.
        horizon_ends_at <= {{ as_of() }} as is_mature
    from horizons

),

{% if is_incremental() %}

asked as (

    select distinct
        entity,
        entity_id,
        outcome_event
    from windows
    where is_mature

),

-- One by one through the indexes, as above; `*` is any event at all. A visit is its session_id,
-- whoever of several people sent it.
outcome_events as (

    select
        asked.entity,
        asked.outcome_event,
        asked.entity_id,
        of_entity.amount,
        of_entity.occurred_at
    from asked
    cross join
        lateral (
            select
                events.amount,
                events.occurred_at
            from {{ ref('int_events_sessionized') }} as events
            where
                asked.entity = 'user'
                and events.user_id = asked.entity_id
                and asked.outcome_event in (events.event_type, '*')

            union all

            select
                events.amount,
                events.occurred_at
            from {{ ref('int_events_sessionized') }} as events
            where
                asked.entity = 'session'
                and events.session_id = asked.entity_id
                and asked.outcome_event in (events.event_type, '*')
        ) as of_entity

),

{% else %}

kinds as (

    select distinct
        entity,
        outcome_event
    from rules

),

-- Whom any event at all is asked of: few, where events are many.
asked_of_any as (

    select distinct
        entity,
        entity_id
    from windows
    where outcome_event = '*' and is_mature

),

-- One row per event and kind of outcome that it is. A visit is its session_id, whoever of several
-- people sent it.
outcome_events as (

    select
        kinds.entity,
        kinds.outcome_event,
        case kinds.entity when 'user' then events.user_id else events.session_id end as entity_id,
        events.amount,
        events.occurred_at
    from {{ ref('int_events_sessionized') }} as events
    inner join kinds
        on events.event_type = kinds.outcome_event

    {% for entity, id in [('user', 'user_id'), ('session', 'session_id')] %}
    union all

    select
        '{{ entity }}' as entity,
        '*' as outcome_event,
        events.{{ id }} as entity_id,
        events.amount,
        events.occurred_at
    from {{ ref('int_events_sessionized') }} as events
    inner join asked_of_any
        on
            events.{{ id }} = asked_of_any.entity_id
            and asked_of_any.entity = '{{ entity }}'
    {% endfor %}

),

{% endif %}

counts as (

    select
        windows.label_name,
        windows.entity_id,
        windows.as_of_at,
        count(*) as n_outcomes,
        sum(outcome_events.amount) as outcome_amount
    from windows
    inner join outcome_events
        on
            windows.entity = outcome_events.entity
            and windows.entity_id = outcome_events.entity_id
            and windows.outcome_event = outcome_events.outcome_event
            and windows.as_of_at < outcome_events.occurred_at
            and windows.horizon_ends_at >= outcome_events.occurred_at
    where windows.is_mature
    group by windows.label_name, windows.entity_id, windows.as_of_at

),

-- Counted first and joined then: most had no outcome, and need not be sorted to be counted.
outcomes as (

    select
        windows.*,
        coalesce(counts.n_outcomes, 0) as n_outcomes,
        coalesce(counts.outcome_amount, 0) as outcome_amount
    from windows
    left join counts
        on
            windows.label_name = counts.label_name
            and windows.entity_id = counts.entity_id
            and windows.as_of_at = counts.as_of_at

),

final as (

    select
        entity_id,

        label_name,
        case when is_mature then 'mature' else 'pending' end as label_status,

        case when is_mature then n_outcomes end as n_outcomes,
        case when is_mature then outcome_amount end as outcome_amount,
        case
            when not is_mature then null
            when label_rule = 'occurs' then case when n_outcomes > 0 then 1 else 0 end
            when label_rule = 'absent' then case when n_outcomes = 0 then 1 else 0 end
            when label_rule = 'sum_amount' then cast(outcome_amount as double precision)
        end as label,

        as_of_at,
        horizon_ends_at,
        delivery_id,
        loaded_at,
        {{ next_change_number() }} as change_number

    from outcomes

)

select * from final
