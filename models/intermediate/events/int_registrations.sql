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

final as (

    select
        numbered.user_id,
        numbered.event_id as registration_event_id,

        {{ json_text('numbered.properties', "'country'") }} as country,
        {{ json_text('numbered.properties', "'city'") }} as city,
        {{ json_text('numbered.properties', "'postcode'") }} as postcode,
        {{ json_text('numbered.properties', "'campaign'") }} as campaign,
        {{ json_text('numbered.properties', "'affiliate_url'") }} as affiliate_url,
        {{ json_text('numbered.properties', "'label'") }} as sent_label,

        {{ json_date('numbered.properties', "'date_of_birth'") }} as date_of_birth,
        numbered.occurred_at as registered_at,
        {{ next_change_number() }} as change_number

    from numbered
    {% if is_incremental() %}
    left join {{ this }} as known
        on numbered.user_id = known.user_id
    {% endif %}
    -- Who registers again is known from the first time on.
    where
        numbered.registration_number = 1
        {% if is_incremental() %}
        and (
            known.user_id is null
            or numbered.occurred_at < known.registered_at
            or (
                numbered.occurred_at = known.registered_at
                and numbered.event_id < known.registration_event_id
            )
        )
        {% endif %}

)

select * from final
