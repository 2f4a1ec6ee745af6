{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[
            {'columns': ['delivery_id'], 'unique': true},
            {'columns': ['loaded_at']},
        ]
    )
}}

with deliveries as (

    select * from {{ ref('int_deliveries_checked') }}
    where
        rejection_reason is not null
        {% if is_incremental() %}
        and {{ arrived_since(this) }}
        {% endif %}

),

final as (

    select
        deliveries.delivery_id,
        deliveries.event_id,
        deliveries.user_id,
        deliveries.session_id,

        deliveries.event_type,
        deliveries.rejection_reason,
        deliveries.properties,

        deliveries.amount,

        deliveries.occurred_at,
        deliveries.loaded_at

    from deliveries
    {% if is_incremental() %}
    left join {{ this }} as quarantined
        on deliveries.delivery_id = quarantined.delivery_id
    where quarantined.delivery_id is null
    {% endif %}

)

select * from final
