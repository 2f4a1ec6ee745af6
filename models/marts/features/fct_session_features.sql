{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key='entity_id',
        on_schema_change='fail',
        indexes=[
            {'columns': ['entity_id'], 'unique': true},
            {'columns': ['user_id']},
            {'columns': ['as_of_at']},
            {'columns': ['change_number']},
        ]
    )
}}

with click_types as (

    select event_type from {{ ref('event_types') }}
    where is_click

),

price_days as (

    select * from {{ ref('int_category_price_days') }}

),

days as (

    select {{ midnight('date_day') }} as day_ends_at
    from {{ ref('dim_date') }}

),

{% if is_incremental() %}

seen as (

    select coalesce(max(known.as_of_at), cast('-infinity' as timestamptz)) as as_of_at
    from {{ this }} as known

),

-- Asked of the models and not of the CTEs, which Postgres would write to disk if they were read
-- twice.
changed_events as (

    select
        user_id,
        session_id
    from {{ ref('int_events_sessionized') }}
    where change_number > {{ newest_change_number(this) }}

),

changed_visits as (

    select session_id from changed_events

    union

    -- A late event can join a visit with an earlier one, under the id of that.
    select known.entity_id as session_id
    from {{ this }} as known
    where known.user_id in (select changed_events.user_id from changed_events)

    union

    -- A price that arrived late moves the mean that every later visit is compared with.
    select known.entity_id as session_id
    from {{ this }} as known
    where
        known.as_of_at >= (
            select min(new_prices.day_ends_at)
            from {{ ref('int_category_price_days') }} as new_prices
            where new_prices.change_number > {{ newest_change_number(this) }}
        )

),

begun_visits as (

    select distinct session_id
    from {{ ref('int_events_sessionized') }}
    where
        session_started_at
        > (select seen.as_of_at from seen)
        - {{ interval_of(var('session_scoring_minutes'), 'minute') }}

),

{% endif %}

events as (

    {% if is_incremental() %}
    -- Visit by visit through the index: left to itself, the planner would read the whole table.
    select of_visit.*
    from (
        select changed_visits.session_id from changed_visits
        union
        select begun_visits.session_id from begun_visits
    ) as selected_visits
    cross join
        lateral (
            select events.*
            from {{ ref('int_events_sessionized') }} as events
            where events.session_id = selected_visits.session_id
            offset 0 -- noqa: AM09
        ) as of_visit
    {% else %}
    select * from {{ ref('int_events_sessionized') }}
    {% endif %}

),

-- Where several people send one session_id (somebody signs in, say), it is one visit all the same,
-- and belongs to the person of its first event.
visit_events as (

    select
        *,
        first_value(user_id) over visits as visitor_id,
        first_value(occurred_at) over visits as visit_started_at
    from events
    window visits as (partition by session_id order by occurred_at, event_id)

),

clicks as (

    select
        visitor_id,
        session_id,
        occurred_at,
        visit_started_at,
        coalesce(
            {{ json_text('properties', "'page'") }}, {{ json_text('properties', "'path'") }}
        ) as page,
        {{ json_text('properties', "'product'") }} as product,
        {{ json_text('properties', "'category'") }} as category,
        {{ json_number('properties', "'price'") }} as price,
        {{ json_text('properties', "'device'") }} as device,
        {{ json_text('properties', "'country'") }} as country,
        row_number() over (
            partition by session_id
            order by occurred_at, event_id
        ) as click_number
    from visit_events
    where event_type in (select click_types.event_type from click_types)

),

-- A visit is scored at its fifth click or ten minutes into it, whichever is first.
visits as (

    select
        session_id,
        least(
            min(occurred_at) filter (where click_number = {{ var('session_scoring_clicks') }}),
            min(visit_started_at) + {{ interval_of(var('session_scoring_minutes'), 'minute') }}
        ) as as_of_at
    from clicks
    group by session_id

),

ripe_visits as (

    select *
    from visits
    where
        as_of_at <= {{ as_of() }}
        {% if is_incremental() %}
        -- A clock that was put back takes nothing away.
        or as_of_at <= (select seen.as_of_at from seen)
        {% endif %}

),

touched_visits as (

    {% if is_incremental() %}
    select session_id from changed_visits

    union

    -- The moment of scoring came since.
    select ripe_visits.session_id
    from ripe_visits
    cross join seen
    where ripe_visits.as_of_at > seen.as_of_at
    {% else %}
    select session_id from ripe_visits
    {% endif %}

),

known_clicks as (

    select
        clicks.*,
        ripe_visits.as_of_at,
        lag(clicks.page) over (
            partition by clicks.session_id
            order by clicks.click_number
        ) as previous_page,
        max(clicks.click_number) over (partition by clicks.session_id) as last_click_number
    from clicks
    inner join ripe_visits
        on
            clicks.session_id = ripe_visits.session_id
            and clicks.occurred_at <= ripe_visits.as_of_at

),

-- What each category's price had been on average by the end of each day, all visits together.
categories as (

    select distinct category from price_days

),

category_means as (

    select
        categories.category,
        days.day_ends_at,
        sum(price_days.sum_price) over (
            partition by categories.category
            order by days.day_ends_at
        ) / sum(price_days.n_views) over (
            partition by categories.category
            order by days.day_ends_at
        ) as mean_price
    from categories
    cross join days
    left join price_days
        on
            categories.category = price_days.category
            and days.day_ends_at = price_days.day_ends_at
    where
        days.day_ends_at <= (select max(ripe_visits.as_of_at) from ripe_visits)
        and days.day_ends_at >= (select min(first_days.day_ends_at) from price_days as first_days)

),

priced_clicks as (

    select
        known_clicks.*,
        known_clicks.price / nullif(category_means.mean_price, 0) as price_ratio
    from known_clicks
    left join category_means
        on
            known_clicks.category = category_means.category
            and {{ start_of_day('known_clicks.as_of_at') }} = category_means.day_ends_at

),

features as (

    select
        visitor_id,
        session_id,
        as_of_at,
        max(page) filter (where click_number = last_click_number) as last_page,
        max(category) filter (where click_number = last_click_number) as last_category,
        max(device) filter (where click_number = 1) as device,
        max(country) filter (where click_number = 1) as country,
        count(*) as n_clicks,
        count(distinct product) as n_products,
        count(distinct category) as n_categories,
        count(*) filter (where click_number = 1 or page is distinct from previous_page)
            as click_sequence_length,
        avg(price) as mean_price,
        max(price) as highest_price,
        avg(price_ratio) as mean_price_ratio,
        coalesce(bool_or(price_ratio > 1), false) as has_price_above_category_mean,
        count(*) = 1 as is_bounce_so_far,
        {{ seconds_between('min(visit_started_at)', 'max(occurred_at)') }} as session_seconds,
        cast(extract(hour from {{ reporting_time('min(visit_started_at)') }}) as integer)
            as started_hour,
        cast(extract(isodow from {{ reporting_time('min(visit_started_at)') }}) as integer)
            as started_weekday
    from priced_clicks
    group by visitor_id, session_id, as_of_at

),

-- A touched visit that is no more, or not yet ripe, comes with empty columns: that row is how
-- replace_touched learns of it.
final as (

    select
        touched_visits.session_id as entity_id,
        features.visitor_id as user_id,

        features.last_page,
        features.last_category,
        features.device,
        features.country,

        features.n_clicks,
        features.n_products,
        features.n_categories,
        features.click_sequence_length,
        features.mean_price,
        features.highest_price,
        features.mean_price_ratio,
        features.session_seconds,
        features.started_hour,
        features.started_weekday,

        features.has_price_above_category_mean,
        features.is_bounce_so_far,

        features.as_of_at,
        {{ next_change_number() }} as change_number

    from touched_visits
    left join features
        on touched_visits.session_id = features.session_id
    {% if not is_incremental() %}
    where features.as_of_at is not null
    {% endif %}

)

select * from final
