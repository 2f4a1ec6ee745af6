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

    select deliveries.*
    from deliveries
    {% if is_incremental() %}
    -- Bounds that the index on `loaded_at` knows.
    inner join touched_days
        on
            deliveries.loaded_at >= {{ midnight('touched_days.loaded_date') }}
            and deliveries.loaded_at < {{ midnight('(touched_days.loaded_date + 1)') }}
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
