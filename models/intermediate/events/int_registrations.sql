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

with new_events as (

    select * from {{ ref('int_events') }}
    where
        event_type = 'new_registration'
        {% if is_incremental() %}
        and change_number > {{ newest_change_number(this) }}
        {% endif %}

),

numbered as (

    select
        *,
        row_number() over (
            partition by user_id
            order by occurred_at, event_id
        ) as registration_number
    from new_events

),

first_registrations as (

    select * from numbered
    where registration_number = 1

),

{% if is_incremental() %}

-- Who registers again is known from the first time on.
new_registrations as (

    select firsts.*
    from first_registrations as firsts
    left join {{ this }} as known
        on firsts.user_id = known.user_id
    where
        known.user_id is null
        or firsts.occurred_at < known.registered_at
        or (
            firsts.occurred_at = known.registered_at
            and firsts.event_id < known.registration_event_id
        )

),

{% endif %}

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

    from {{ 'new_registrations' if is_incremental() else 'first_registrations' }}

)

select * from final
