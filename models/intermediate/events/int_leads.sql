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

with new_events as (

    select * from {{ ref('int_events') }}
    where
        event_type = 'lead_created'
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
        ) as lead_number
    from new_events

),

final as (

    select
        numbered.user_id,
        numbered.event_id as lead_event_id,

        {{ json_text('numbered.properties', "'email'") }} as email,
        {{ json_text('numbered.properties', "'utm_medium'") }} as utm_medium,
        {{ json_text('numbered.properties', "'utm_source'") }} as utm_source,
        {{ json_text('numbered.properties', "'device'") }} as device,
        {{ json_text('numbered.properties', "'country'") }} as country,
        {{ json_omit(
            'numbered.properties', ['email', 'utm_medium', 'utm_source', 'device', 'country']
        ) }} as attributes,

        numbered.occurred_at as landed_at,
        {{ next_change_number() }} as change_number

    from numbered
    {% if is_incremental() %}
    left join {{ this }} as known
        on numbered.user_id = known.user_id
    {% endif %}
    -- A person who leaves the address again stays the same lead.
    where
        numbered.lead_number = 1
        {% if is_incremental() %}
        and (
            known.user_id is null
            or numbered.occurred_at < known.landed_at
            or (
                numbered.occurred_at = known.landed_at
                and numbered.event_id < known.lead_event_id
            )
        )
        {% endif %}

)

select * from final
