{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='loaded_date',
        on_schema_change='fail',
        indexes=[{'columns': ['loaded_date'], 'unique': true}]
    )
}}

with deliveries as (

    select * from {{ ref('int_deliveries_checked') }}

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_days as (

    select distinct {{ reporting_date('loaded_at') }} as loaded_date
    from {{ ref('int_deliveries_checked') }}
    where {{ arrived_since(this) }}

),

{% endif %}

selected_deliveries as (

    {% if is_incremental() %}
    -- Day by day through the index: left to itself, the planner would read the whole table.
    select of_day.*
    from touched_days
    cross join
        lateral (
            select deliveries.*
            from deliveries
            where
                deliveries.loaded_at >= {{ midnight('touched_days.loaded_date') }}
                and deliveries.loaded_at < {{ midnight('(touched_days.loaded_date + 1)') }}
            offset 0 -- noqa: AM09
        ) as of_day
    {% else %}
    select * from deliveries
    {% endif %}

),

final as (

    select
        count(*) as n_delivered,
        count(rejection_reason) as n_quarantined,

        {{ reporting_date('loaded_at') }} as loaded_date,
        max(loaded_at) as loaded_at,
        max(delivery_id) as delivery_id

    from selected_deliveries
    group by {{ reporting_date('loaded_at') }}

)

select * from final
