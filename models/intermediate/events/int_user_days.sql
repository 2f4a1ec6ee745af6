{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['user_id', 'day_ends_at', 'event_type'],
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['user_id', 'day_ends_at']},
            {'columns': ['change_number']},
        ]
    )
}}

-- A day holds its end and not its beginning, so that the days up to a moment hold what had happened
-- by then, that moment included.
with events as (

    select
        user_id,
        event_type,
        amount,
        occurred_at,
        {{ end_of_day('occurred_at') }} as day_ends_at
    from {{ ref('int_events') }}

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_days as (

    select distinct
        user_id,
        event_type,
        {{ end_of_day('occurred_at') }} as day_ends_at
    from {{ ref('int_events') }}
    where change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_events as (

    {% if is_incremental() %}
    -- Day by day through the index on `occurred_at`, whose bounds a day with 25 hours keeps.
    select of_day.*
    from touched_days
    cross join
        lateral (
            select events.*
            from events
            where
                events.user_id = touched_days.user_id
                and events.event_type = touched_days.event_type
                and events.day_ends_at = touched_days.day_ends_at
                and events.occurred_at > touched_days.day_ends_at - {{ interval_of(2, 'day') }}
                and events.occurred_at <= touched_days.day_ends_at
            offset 0 -- noqa: AM09
        ) as of_day
    {% else %}
    select * from events
    {% endif %}

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
    from selected_events
    group by user_id, event_type, day_ends_at

),

final as (

    select
        user_id,

        event_type,

        n_events,
        sum_amount,

        day_ends_at,
        first_occurred_at,
        last_occurred_at,
        {{ next_change_number() }} as change_number

    from user_days

)

select * from final
