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

-- A person who leaves the address again stays the same lead.
with first_leads as (

    {{ new_first_events(ref('int_events'), 'lead_created', 'landed_at', 'lead_event_id') }}

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

    from first_leads

)

select * from final
