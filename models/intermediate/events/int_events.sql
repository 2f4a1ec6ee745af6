{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['event_id'], 'unique': true},
            {'columns': ['change_number']},
            {'columns': ['delivery_id']},
            {'columns': ['loaded_at']},
        ]
    )
}}

with deliveries as (

    select * from {{ ref('int_deliveries_checked') }}
    where
        rejection_reason is null
        {% if is_incremental() %}
        and {{ arrived_since(this) }}
        -- Most that are looked at once more were kept the first time: their numbers stand together,
        -- and their events are looked for among all there are.
        and delivery_id not in (
            select recent.delivery_id from {{ this }} as recent
            where {{ arrived_since(this, 'recent') }}
        )
        {% endif %}

),

new_deliveries as (

    select deliveries.*
    from deliveries
    {% if is_incremental() %}
    left join {{ this }} as kept
        on deliveries.event_id = kept.event_id
    where kept.event_id is null
    {% endif %}

),

numbered as (

    select
        *,
        row_number() over (
            partition by event_id
            order by delivery_id
        ) as delivery_number
    from new_deliveries

),

final as (

    select
        event_id,
        delivery_id,
        user_id,
        session_id,

        event_type,
        properties,

        amount,

        is_known_type,

        occurred_at,
        loaded_at,
        {{ next_change_number() }} as change_number

    from numbered
    where delivery_number = 1

)

select * from final
