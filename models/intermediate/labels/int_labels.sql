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

events as (

    select * from {{ ref('int_events_sessionized') }}

),

-- A prediction for a task that the registry does not know has no label.
known_requests as (

    select * from {{ ref('int_label_requests') }}
    where label_name in (select rules.label_name from rules)

),

requests as (

    select
        label_name,
        entity_id,
        as_of_at,
        max(delivery_id) as delivery_id,
        max(loaded_at) as loaded_at
    from known_requests
    {% if is_incremental() %}
    where
        change_number > {{ newest_change_number(this) }}
        or {{ arrived_since(this) }}
        -- A rule that came into the registry since: everybody who asked for it is answered.
        or label_name in (
            select rules.label_name
            from rules
            where
                not exists (
                    select 1 from {{ this }} as known
                    where known.label_name = rules.label_name
                )
        )
    {% endif %}
    group by label_name, entity_id, as_of_at

),

{% if is_incremental() %}

-- Late outcomes are asked of the model and not of the CTE, which Postgres would write to disk if it
-- were read twice.
touched as (

    -- Asked for since, for the first time or once more.
    select requests.*
    from requests
    left join {{ this }} as known
        on
            requests.label_name = known.label_name
            and requests.entity_id = known.entity_id
            and requests.as_of_at = known.as_of_at
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
        and known.label_status = 'mature'

),

{% endif %}

selected_requests as (

    select
        label_name,
        entity_id,
        as_of_at,
        max(delivery_id) as delivery_id,
        max(loaded_at) as loaded_at
    from {% if is_incremental() %} touched {% else %} requests {% endif %}
    group by label_name, entity_id, as_of_at

),

windows as (

    select
        selected_requests.*,
        rules.entity,
        rules.outcome_event,
        rules.label_rule,
        selected_requests.as_of_at + {{ interval_of('rules.horizon_days', 'day') }}
            as horizon_ends_at
    from selected_requests
    inner join rules
        on selected_requests.label_name = rules.label_name

),

kinds as (

    select distinct
        entity,
        outcome_event
    from rules

),

-- One row per event and kind of outcome that it is; `*` is any event at all.
outcome_events as (

    select
        kinds.entity,
        kinds.outcome_event,
        -- A visit is its session_id, whoever of several people sent it.
        case kinds.entity when 'user' then events.user_id else events.session_id end as entity_id,
        events.amount,
        events.occurred_at
    from events
    inner join kinds
        on kinds.outcome_event in (events.event_type, '*')
    where events.occurred_at > (select min(windows.as_of_at) from windows)

),

outcomes as (

    select
        windows.label_name,
        windows.entity_id,
        windows.as_of_at,
        windows.label_rule,
        windows.horizon_ends_at,
        windows.delivery_id,
        windows.loaded_at,
        -- A positive that came early waits for the negatives of its day.
        windows.horizon_ends_at <= {{ as_of() }} as is_mature,
        count(outcome_events.outcome_event) as n_outcomes,
        coalesce(sum(outcome_events.amount), 0) as outcome_amount
    from windows
    left join outcome_events
        on
            windows.entity = outcome_events.entity
            and windows.entity_id = outcome_events.entity_id
            and windows.outcome_event = outcome_events.outcome_event
            and windows.as_of_at < outcome_events.occurred_at
            and windows.horizon_ends_at >= outcome_events.occurred_at
    group by
        windows.label_name,
        windows.entity_id,
        windows.as_of_at,
        windows.label_rule,
        windows.horizon_ends_at,
        windows.delivery_id,
        windows.loaded_at

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
