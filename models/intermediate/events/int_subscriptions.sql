{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='user_id',
        on_schema_change='fail',
        indexes=[
            {'columns': ['user_id']},
        ]
    )
}}

with events as (

    select * from {{ ref('int_events_sessionized') }}
    where event_type in ('subscription_started', 'subscription_cancelled')

),

touched as (

    select *
    from events
    {% if is_incremental() %}
    -- Asked of the model and not of the CTE, which Postgres would write to disk if it were read
    -- twice.
    where
        user_id in (
            select new_events.user_id
            from {{ ref('int_events_sessionized') }} as new_events
            where
                new_events.event_type in ('subscription_started', 'subscription_cancelled')
                and new_events.change_number > {{ newest_change_number(this) }}
        )
    {% endif %}

),

-- A subscription lasts until the next event of either kind: cancelled, or started on another plan.
with_ends as (

    select
        *,
        lead(occurred_at) over (
            partition by user_id
            order by occurred_at, event_id
        ) as ended_at,
        min(occurred_at) filter (where event_type = 'subscription_started') over (
            partition by user_id
        ) as first_started_at
    from touched

),

final as (

    select
        event_id as subscription_id,
        user_id,

        {{ json_text('properties', "'plan'") }} as plan,

        {{ json_number('properties', "'monthly_price'") }} as monthly_price,

        first_started_at,
        occurred_at as started_at,
        ended_at,
        {{ next_change_number() }} as change_number

    from with_ends
    where event_type = 'subscription_started'

)

select * from final
