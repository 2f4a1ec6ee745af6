{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key='entity_id',
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
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
        session_id,
        is_session_derived
    from {{ ref('int_events_sessionized') }}
    where change_number > {{ newest_change_number(this) }}

),

changed_visits as (

    select session_id from changed_events

    union

    -- Where nobody told of visits, a late event can join one with an earlier one, under the id of
    -- that.
    select known.entity_id as session_id
    from {{ this }} as known
    where
        known.user_id in (
            select changed_events.user_id from changed_events
            where changed_events.is_session_derived
        )

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

told_events as (

    select
        *,
        event_type in (select click_types.event_type from click_types) as is_click
    from events

),

-- All that tells whose visit it is, when it began, and what was clicked.
first_events_and_clicks as (

    select * from told_events
    where is_click or session_event_number = 1

),

-- Where several people send one session_id (somebody signs in, say), it is one visit all the same,
-- and belongs to the person of its first event.
visit_events as (

    select
        *,
        first_value(user_id) over visits as visitor_id,
        first_value(occurred_at) over visits as visit_started_at,
        count(*) filter (where is_click) over visits as click_number
    from first_events_and_clicks
    window visits as (
        partition by session_id
        order by occurred_at, event_id
        rows unbounded preceding
    )

),

timely_clicks as (

    select
        visitor_id,
        session_id,
        event_id,
        occurred_at,
        visit_started_at,
        click_number,
        coalesce(
            {{ json_text('properties', "'page'") }}, {{ json_text('properties', "'path'") }}
        ) as page,
        {{ json_text('properties', "'product'") }} as product,
        {{ json_text('properties', "'category'") }} as category,
        {{ json_number('properties', "'price'") }} as price,
        case when click_number = 1 then {{ json_text('properties', "'device'") }} end as device,
        case when click_number = 1 then {{ json_text('properties', "'country'") }} end as country
    from visit_events
    where
        is_click
        and occurred_at
        <= visit_started_at + {{ interval_of(var('session_scoring_minutes'), 'minute') }}

),

-- A visit is scored at its fifth click or ten minutes into it, whichever is first.
visits as (

    select
        *,
        lag(page) over clicks as previous_page,
        lead(occurred_at) over clicks as next_occurred_at,
        -- The time of the fifth click, counted from this one.
        least(
            lead(
                occurred_at, cast({{ var('session_scoring_clicks') }} - click_number as integer)
            ) over clicks,
            visit_started_at + {{ interval_of(var('session_scoring_minutes'), 'minute') }}
        ) as as_of_at
    from timely_clicks
    window clicks as (partition by session_id order by occurred_at, event_id)

),

known_clicks as (

    select
        *,
        coalesce(next_occurred_at > as_of_at, true) as is_last_click
    from visits
    where
        occurred_at <= as_of_at
        and (
            as_of_at <= {{ as_of() }}
            {% if is_incremental() %}
            -- A clock that was put back takes nothing away.
            or as_of_at <= (select seen.as_of_at from seen)
            {% endif %}
        )

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
        days.day_ends_at >= (select min(first_days.day_ends_at) from price_days as first_days)
        and (
            days.day_ends_at <= {{ as_of() }}
            {% if is_incremental() %}
            or days.day_ends_at <= (select seen.as_of_at from seen)
            {% endif %}
        )

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
        session_id,
        min(visitor_id) as visitor_id,
        min(as_of_at) as as_of_at,
        max(page) filter (where is_last_click) as last_page,
        max(category) filter (where is_last_click) as last_category,
        max(device) as device,
        max(country) as country,
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
    group by session_id

),

{% if is_incremental() %}

touched_visits as (

    select session_id from changed_visits

    union

    -- The moment of scoring came since.
    select features.session_id
    from features
    cross join seen
    where features.as_of_at > seen.as_of_at

),

{% endif %}

-- A touched visit that is no more, or not yet ripe, comes with empty columns: that row is how
-- replace_touched learns of it.
final as (

    select
        {{ 'touched_visits' if is_incremental() else 'features' }}.session_id as entity_id,
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
        case when features.session_id is not null then {{ next_change_number() }} end
            as change_number

    {% if is_incremental() %}
    from touched_visits
    left join features
        on touched_visits.session_id = features.session_id
    {% else %}
    from features
    {% endif %}

)

select * from final
