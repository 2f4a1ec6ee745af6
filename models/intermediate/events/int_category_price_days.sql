{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['category', 'day_ends_at'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['day_ends_at', 'category'], 'unique': true},
            {'columns': ['change_number']},
        ]
    )
}}

with new_views as (

    select
        {{ json_text('properties', "'category'") }} as category,
        {{ json_number('properties', "'price'") }} as price,
        {{ end_of_day('occurred_at') }} as day_ends_at
    from {{ ref('int_events') }}
    where
        event_type = 'product_viewed'
        {% if is_incremental() %}
        and change_number > {{ newest_change_number(this) }}
        {% endif %}
    -- So that JSON is read of views alone, and each price once.
    offset 0 -- noqa: AM09

),

new_days as (

    select
        category,
        day_ends_at,
        count(*) as n_views,
        sum(price) as sum_price
    from new_views
    where category is not null and price is not null
    group by category, day_ends_at

),

{% if is_incremental() %}

-- Views come and never go: what is known of a day and what is new of it add up.
parts as (

    select * from new_days

    union all

    {{ known_rows_of(
        'new_days',
        ['category', 'day_ends_at'],
        ['n_views', 'sum_price'],
        ref('int_events')
    ) }}

),

price_days as (

    select
        category,
        day_ends_at,
        cast(sum(n_views) as bigint) as n_views,
        sum(sum_price) as sum_price
    from parts
    group by category, day_ends_at

),

{% endif %}

final as (

    select
        category,

        n_views,
        sum_price,

        day_ends_at,
        {{ next_change_number() }} as change_number

    from {{ 'price_days' if is_incremental() else 'new_days' }}

)

select * from final
