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

-- Who registers again is known from the first time on.
with first_registrations as (

    {{ new_first_events(
        ref('int_events'), 'new_registration', 'registered_at', 'registration_event_id'
    ) }}

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

    from first_registrations

)

select * from final
