{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='day_ends_at',
        on_schema_change='fail',
        indexes=[
            {'columns': ['day_ends_at']},
            {'columns': ['change_number']},
        ]
    )
}}

with product_views as (

    select
        occurred_at,
        {{ json_text('properties', "'category'") }} as category,
        {{ json_number('properties', "'price'") }} as price,
        {{ end_of_day('occurred_at') }} as day_ends_at
    from {{ ref('int_events') }}
    where event_type = 'product_viewed'

),

priced_views as (

    select * from product_views
    where category is not null and price is not null

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_days as (

    select distinct {{ end_of_day('occurred_at') }} as day_ends_at
    from {{ ref('int_events') }}
    where
        event_type = 'product_viewed'
        and change_number > {{ newest_change_number(this) }}
        and {{ json_text('properties', "'category'") }} is not null
        and {{ json_number('properties', "'price'") }} is not null

),

{% endif %}

selected_views as (

    {% if is_incremental() %}
    -- Day by day through the index on `occurred_at`, whose bounds a day with 25 hours keeps.
    select of_day.*
    from touched_days
    cross join
        lateral (
            select priced_views.*
            from priced_views
            where
                priced_views.day_ends_at = touched_days.day_ends_at
                and priced_views.occurred_at
                > touched_days.day_ends_at - {{ interval_of(2, 'day') }}
                and priced_views.occurred_at <= touched_days.day_ends_at
            offset 0 -- noqa: AM09
        ) as of_day
    {% else %}
    select * from priced_views
    {% endif %}

),

final as (

    select
        category,

        count(*) as n_views,
        sum(price) as sum_price,

        day_ends_at,
        {{ next_change_number() }} as change_number

    from selected_views
    group by category, day_ends_at

)

select * from final
