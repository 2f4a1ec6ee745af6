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
        {{ json_text('properties', "'category'") }} as category,
        {{ json_number('properties', "'price'") }} as price,
        {{ end_of_day('occurred_at') }} as day_ends_at,
        change_number
    from {{ ref('int_events') }}
    where event_type = 'product_viewed'

),

priced_views as (

    select * from product_views
    where category is not null and price is not null

),

final as (

    select
        category,

        count(*) as n_views,
        sum(price) as sum_price,

        day_ends_at,
        {{ next_change_number() }} as change_number

    from priced_views
    {% if is_incremental() %}
    where
        day_ends_at in (
            select new_views.day_ends_at
            from priced_views as new_views
            where new_views.change_number > {{ newest_change_number(this) }}
        )
    {% endif %}
    group by category, day_ends_at

)

select * from final
