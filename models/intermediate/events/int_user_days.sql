{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['user_id', 'day_ends_at', 'event_type'],
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['user_id', 'day_ends_at', 'event_type'], 'unique': true},
            {'columns': ['change_number']},
        ]
    )
}}

-- A day holds its end and not its beginning, so that the days up to a moment hold what had happened
-- by then, that moment included.
with new_events as (

    select
        user_id,
        event_type,
        amount,
        occurred_at,
        {{ end_of_day('occurred_at') }} as day_ends_at
    from {{ ref('int_events') }}
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}

),

new_days as (

    select
        user_id,
        event_type,
        day_ends_at,
        count(*) as n_events,
        coalesce(sum(amount), 0) as sum_amount,
        min(occurred_at) as first_occurred_at,
        max(occurred_at) as last_occurred_at
    from new_events
    group by user_id, event_type, day_ends_at

),

{% if is_incremental() %}

-- Events come and never go: what is known of a day and what is new of it add up.
parts as (

    select * from new_days

    union all

    {{ known_rows_of(
        'new_days',
        ['user_id', 'event_type', 'day_ends_at'],
        ['n_events', 'sum_amount', 'first_occurred_at', 'last_occurred_at'],
        ref('int_events')
    ) }}

),

user_days as (

    select
        user_id,
        event_type,
        day_ends_at,
        cast(sum(n_events) as bigint) as n_events,
        sum(sum_amount) as sum_amount,
        min(first_occurred_at) as first_occurred_at,
        max(last_occurred_at) as last_occurred_at
    from parts
    group by user_id, event_type, day_ends_at

),

{% endif %}

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

    from {{ 'user_days' if is_incremental() else 'new_days' }}

)

select * from final
