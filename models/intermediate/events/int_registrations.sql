{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='user_id',
        on_schema_change='fail',
        indexes=[
            {'columns': ['user_id'], 'unique': true},
        ]
    )
}}

with events as (

    select * from {{ ref('int_events') }}
    where event_type = 'new_registration'

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
                new_events.event_type = 'new_registration'
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
        ) as registration_number
    from touched

),

final as (

    select
        user_id,
        event_id as registration_event_id,

        {{ json_text('properties', "'country'") }} as country,
        {{ json_text('properties', "'city'") }} as city,
        {{ json_text('properties', "'postcode'") }} as postcode,
        {{ json_text('properties', "'campaign'") }} as campaign,
        {{ json_text('properties', "'affiliate_url'") }} as affiliate_url,
        {{ json_text('properties', "'label'") }} as sent_label,

        {{ json_date('properties', "'date_of_birth'") }} as date_of_birth,
        occurred_at as registered_at,
        {{ next_change_number() }} as change_number

    from numbered
    where registration_number = 1

)

select * from final
