{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['user_id', 'day_ends_at', 'event_type'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['user_id', 'day_ends_at']},
            {'columns': ['change_number']},
        ]
    )
}}

with events as (

    select * from {{ ref('int_events_sessionized') }}
    {% if is_incremental() %}
    where
        user_id in (
            select new_events.user_id
            from {{ ref('int_events_sessionized') }} as new_events
            where new_events.change_number > {{ newest_change_number(this) }}
        )
    {% endif %}

),

-- A day holds its end and not its beginning, so that the days up to a moment hold what had happened
-- by then, that moment included.
with_days as (

    select
        *,
        {{ end_of_day('occurred_at') }} as day_ends_at
    from events

),

user_days as (

    select
        user_id,
        event_type,
        day_ends_at,
        count(*) as n_events,
        coalesce(sum(amount), 0) as sum_amount,
        min(occurred_at) as first_occurred_at,
        max(occurred_at) as last_occurred_at
    from with_days
    group by user_id, event_type, day_ends_at

),

final as (

    select
        user_days.user_id,

        user_days.event_type,

        user_days.n_events,
        user_days.sum_amount,

        user_days.day_ends_at,
        user_days.first_occurred_at,
        user_days.last_occurred_at,
        {{ next_change_number() }} as change_number

    from user_days
    {% if is_incremental() %}
    left join {{ this }} as known
        on
            user_days.user_id = known.user_id
            and user_days.event_type = known.event_type
            and user_days.day_ends_at = known.day_ends_at
    -- A day on which nothing new happened stays as it is.
    where
        known.user_id is null
        or known.n_events != user_days.n_events
        or known.sum_amount != user_days.sum_amount
        or known.first_occurred_at != user_days.first_occurred_at
        or known.last_occurred_at != user_days.last_occurred_at
    {% endif %}

)

select * from final
