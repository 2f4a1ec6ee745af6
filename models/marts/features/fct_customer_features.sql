{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='entity_id',
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['entity_id', 'as_of_at'], 'unique': true},
            {'columns': ['as_of_at']},
            {'columns': ['change_number']},
        ]
    )
}}

with user_days as (

    select
        *,
        event_type = 'order_completed' as is_order
    from {{ ref('int_user_days') }}
    where event_type in ('order_completed', 'coupon_redeemed')

),

months as (

    select
        {{ midnight('month_start_date') }} as as_of_at
    from {{ ref('dim_date') }}
    where date_day = month_start_date

),

ripe_months as (

    select *
    from months
    where
        as_of_at <= {{ as_of() }}
        {% if is_incremental() %}
        -- A clock that was put back takes nothing away.
        or as_of_at <= (select max(known.as_of_at) from {{ this }} as known)
        {% endif %}

),

{% if is_incremental() %}

begun_month as (

    select max(as_of_at) as as_of_at
    from ripe_months
    having
        max(as_of_at) > (
            select coalesce(max(known.as_of_at), cast('-infinity' as timestamptz))
            from {{ this }} as known
        )

),

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_customers as (

    select user_id
    from {{ ref('int_user_days') }}
    where
        event_type in ('order_completed', 'coupon_redeemed')
        and change_number > {{ newest_change_number(this) }}

    union

    -- A month began since: every customer gets a new row.
    select of_month.user_id
    from begun_month
    cross join
        lateral (
            select user_days.user_id
            from {{ ref('int_user_days') }} as user_days
            where
                user_days.event_type in ('order_completed', 'coupon_redeemed')
                and user_days.day_ends_at <= begun_month.as_of_at
            offset 0 -- noqa: AM09
        ) as of_month

),

{% endif %}

selected_days as (

    {{ rows_of_touched('user_days', 'touched_customers', ['user_id']) }}

),

histories as (

    select
        selected_days.user_id,
        ripe_months.as_of_at,
        coalesce(sum(selected_days.n_events) filter (where selected_days.is_order), 0) as n_orders,
        coalesce(sum(selected_days.sum_amount) filter (where selected_days.is_order), 0)
            as sum_revenue,
        coalesce(sum(selected_days.sum_amount) filter (where not selected_days.is_order), 0)
            as sum_discount,
        min(selected_days.first_occurred_at) filter (where selected_days.is_order)
            as first_ordered_at,
        max(selected_days.last_occurred_at) filter (where selected_days.is_order)
            as last_ordered_at
    from selected_days
    inner join ripe_months
        on selected_days.day_ends_at <= ripe_months.as_of_at
    -- The calendar begins long before the first order.
    where
        ripe_months.as_of_at >= (
            select min(first_days.day_ends_at)
            from selected_days as first_days
        )
    group by selected_days.user_id, ripe_months.as_of_at

),

final as (

    select
        user_id as entity_id,

        cast(n_orders as bigint) as n_orders,
        sum_revenue,
        sum_revenue / n_orders as mean_order_amount,
        sum_discount / nullif(sum_revenue + sum_discount, 0) as discount_share,
        {{ seconds_between('last_ordered_at', 'as_of_at') }} / 86400 as recency_days,
        {{ seconds_between('first_ordered_at', 'as_of_at') }} / 86400 as tenure_days,
        {{ seconds_between('first_ordered_at', 'last_ordered_at') }} / 86400
        / nullif(n_orders - 1, 0) as mean_gap_days,

        as_of_at,
        {{ next_change_number() }} as change_number

    from histories
    -- Who has only redeemed a coupon is no customer yet.
    where n_orders > 0

)

select * from final
