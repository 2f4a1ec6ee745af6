{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key=['entity_id', 'as_of_at'],
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['entity_id', 'as_of_at'], 'unique': true},
            {'columns': ['as_of_at']},
            {'columns': ['change_number']},
        ]
    )
}}

with subscriptions as (

    select * from {{ ref('int_subscriptions') }}

),

weeks as (

    select
        {{ midnight('date_day') }} as as_of_at,
        -- In days of the calendar: the week in which the clock changes has no 168 hours.
        {{ midnight('date_day - 7') }} as week_began_at,
        {{ midnight('date_day - 28') }} as four_weeks_began_at
    from {{ ref('dim_date') }}
    where date_day = week_start_date

),

ripe_weeks as (

    select *
    from weeks
    where
        -- The calendar begins long before the first subscription.
        as_of_at >= (select min(subscriptions.started_at) from subscriptions)
        and (
            as_of_at <= {{ as_of() }}
            {% if is_incremental() %}
            -- A clock that was put back takes nothing away.
            or as_of_at <= (select max(known.as_of_at) from {{ this }} as known)
            {% endif %}
        )

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_subscribers as (

    select distinct subscriptions.user_id
    from subscriptions
    inner join {{ ref('int_user_days') }} as new_days
        on subscriptions.user_id = new_days.user_id
    where new_days.change_number > {{ newest_change_number(this) }}

),

selected_weeks as (

    select
        touched_subscribers.user_id,
        ripe_weeks.*
    from touched_subscribers
    cross join ripe_weeks

    union

    -- A week began since: every active subscriber gets a new row.
    select
        subscriptions.user_id,
        ripe_weeks.*
    from ripe_weeks
    cross join subscriptions
    where
        ripe_weeks.as_of_at > (
            select coalesce(max(known.as_of_at), cast('-infinity' as timestamptz))
            from {{ this }} as known
        )

),

{% endif %}

-- Point in time: a subscription that ends later is active now, whoever knows better today.
active_weeks as (

    {% set candidates = 'selected_weeks' if is_incremental() else 'ripe_weeks' %}
    select
        subscriptions.*,
        {{ candidates }}.as_of_at,
        {{ candidates }}.week_began_at,
        {{ candidates }}.four_weeks_began_at
    from subscriptions
    inner join {{ candidates }}
        on
            subscriptions.started_at <= {{ candidates }}.as_of_at
            and (
                subscriptions.ended_at is null
                or subscriptions.ended_at > {{ candidates }}.as_of_at
            )
            {% if is_incremental() %}
            and subscriptions.user_id = selected_weeks.user_id
            {% endif %}

),

user_days as (

    {% if is_incremental() %}
    -- Person by person through the index: left to itself, the planner would read the whole table.
    select of_subscriber.*
    from (select distinct user_id from active_weeks) as subscribers
    cross join
        lateral (
            select user_days.*
            from {{ ref('int_user_days') }} as user_days
            where user_days.user_id = subscribers.user_id
            offset 0 -- noqa: AM09
        ) as of_subscriber
    {% else %}
    select * from {{ ref('int_user_days') }}
    {% endif %}

),

-- Counts of the last 7 and 28 days, of every type there is.
type_counts as (

    select
        active_weeks.user_id,
        active_weeks.as_of_at,
        user_days.event_type,
        sum(user_days.n_events) as n_28d,
        coalesce(
            sum(user_days.n_events) filter (
                where user_days.day_ends_at > active_weeks.week_began_at
            ),
            0
        ) as n_7d
    from active_weeks
    inner join user_days
        on
            active_weeks.user_id = user_days.user_id
            and active_weeks.as_of_at >= user_days.day_ends_at
            and active_weeks.four_weeks_began_at < user_days.day_ends_at
    group by active_weeks.user_id, active_weeks.as_of_at, user_days.event_type

),

with_sign_ins as (

    select
        *,
        sum(n_28d) filter (where event_type = 'signed_in') over (
            partition by user_id, as_of_at
        ) as n_sign_ins_28d
    from type_counts

),

activity as (

    select
        user_id,
        as_of_at,
        {{ json_object_agg("event_type || '_7d'", 'n_7d') }} as counts_7d,
        {{ json_object_agg("event_type || '_28d'", 'n_28d') }} as counts_28d,
        {{ json_object_agg(
            "event_type || '_per_sign_in'",
            'cast(n_28d as double precision) / nullif(n_sign_ins_28d, 0)'
        ) }} as ratios,
        coalesce(sum(n_7d), 0) as n_events_7d,
        coalesce(sum(n_28d), 0) as n_events_28d
    from with_sign_ins
    group by user_id, as_of_at

),

payments as (

    select
        active_weeks.user_id,
        active_weeks.as_of_at,
        sum(user_days.sum_amount) as amount_paid
    from active_weeks
    inner join user_days
        on
            active_weeks.user_id = user_days.user_id
            and active_weeks.as_of_at >= user_days.day_ends_at
    where user_days.event_type = 'invoice_paid'
    group by active_weeks.user_id, active_weeks.as_of_at

),

features as (

    select
        active_weeks.user_id,
        active_weeks.plan,
        activity.counts_7d,
        activity.counts_28d,
        activity.ratios,
        active_weeks.monthly_price,
        coalesce(payments.amount_paid, 0) as amount_paid,
        cast(coalesce(activity.n_events_7d, 0) as bigint) as n_events_7d,
        cast(coalesce(activity.n_events_28d, 0) as bigint) as n_events_28d,
        {{ seconds_between('active_weeks.started_at', 'active_weeks.as_of_at') }} / 86400
            as tenure_days,
        active_weeks.first_started_at < active_weeks.started_at as has_subscribed_before,
        active_weeks.as_of_at
    from active_weeks
    left join activity
        on
            active_weeks.user_id = activity.user_id
            and active_weeks.as_of_at = activity.as_of_at
    left join payments
        on
            active_weeks.user_id = payments.user_id
            and active_weeks.as_of_at = payments.as_of_at

),

{% if is_incremental() %}

touched_weeks as (

    select
        user_id,
        as_of_at
    from features

    union

    -- An end that arrives late takes weeks away.
    select
        known.entity_id as user_id,
        known.as_of_at
    from {{ this }} as known
    where known.entity_id in (select touched_subscribers.user_id from touched_subscribers)

),

{% endif %}

-- A week that is no more comes with empty columns: that row is how replace_touched learns of it.
final as (

    {% set weeks = 'touched_weeks' if is_incremental() else 'features' %}
    select
        {{ weeks }}.user_id as entity_id,

        features.plan,
        features.counts_7d,
        features.counts_28d,
        features.ratios,

        features.monthly_price,
        features.amount_paid,
        features.n_events_7d,
        features.n_events_28d,
        features.tenure_days,

        features.has_subscribed_before,

        {{ weeks }}.as_of_at,
        case when features.user_id is not null then {{ next_change_number() }} end as change_number

    {% if is_incremental() %}
    from touched_weeks
    left join features
        on
            touched_weeks.user_id = features.user_id
            and touched_weeks.as_of_at = features.as_of_at
    {% else %}
    from features
    {% endif %}

)

select * from final
