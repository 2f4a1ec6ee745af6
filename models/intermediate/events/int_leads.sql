{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='user_id',
        on_schema_change='fail',
        indexes=[
            {'columns': ['user_id'], 'unique': true},
            {'columns': ['landed_at']},
        ]
    )
}}

with events as (

    select * from {{ ref('int_events') }}
    where event_type = 'lead_created'

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
            from {{ ref('int_events') }} as new_events
            where
                new_events.event_type = 'lead_created'
                and new_events.change_number > {{ newest_change_number(this) }}
        )
    {% endif %}

),

numbered as (

    select
        *,
        row_number() over (
            partition by user_id
            order by occurred_at, event_id
        ) as lead_number
    from touched

),

final as (

    select
        user_id,
        event_id as lead_event_id,

        {{ json_text('properties', "'email'") }} as email,
        {{ json_text('properties', "'utm_medium'") }} as utm_medium,
        {{ json_text('properties', "'utm_source'") }} as utm_source,
        {{ json_text('properties', "'device'") }} as device,
        {{ json_text('properties', "'country'") }} as country,
        {{ json_omit(
            'properties', ['email', 'utm_medium', 'utm_source', 'device', 'country']
        ) }} as attributes,

        occurred_at as landed_at,
        {{ next_change_number() }} as change_number

    from numbered
    -- A person who leaves the address again stays the same lead.
    where lead_number = 1

)

select * from final
