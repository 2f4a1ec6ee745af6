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

first_leads as (

    select * from numbered
    where lead_number = 1

),

{% if is_incremental() %}

-- A person who leaves the address again stays the same lead.
new_leads as (

    select firsts.*
    from first_leads as firsts
    left join {{ this }} as known
        on firsts.user_id = known.user_id
    where
        known.user_id is null
        or firsts.occurred_at < known.landed_at
        or (
            firsts.occurred_at = known.landed_at
            and firsts.event_id < known.lead_event_id
        )

),

{% endif %}

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

    from {{ 'new_leads' if is_incremental() else 'first_leads' }}

)

select * from final
