{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='entity_id',
        on_schema_change='fail',
        post_hook='{{ analyze_once() }}',
        indexes=[
            {'columns': ['entity_id'], 'unique': true},
            {'columns': ['as_of_at']},
            {'columns': ['change_number']},
        ]
    )
}}

{% set scoring_delay = interval_of(var('lead_scoring_delay_hours'), 'hour') %}

with leads as (

    select
        *,
        landed_at + {{ scoring_delay }} as as_of_at
    from {{ ref('int_leads') }}

),

ripe_leads as (

    select *
    from leads
    where
        as_of_at <= {{ as_of() }}
        {% if is_incremental() %}
        -- A clock that was put back takes nothing away.
        or as_of_at <= (select max(known.as_of_at) from {{ this }} as known)
        {% endif %}

),

{% if is_incremental() %}

-- Asked of the models and not of the CTEs, which Postgres would write to disk if they were read
-- twice.
touched_leads as (

    -- What happened before the moment of scoring arrived since.
    select leads.user_id
    from {{ ref('int_events_sessionized') }} as events
    inner join {{ ref('int_leads') }} as leads
        on
            events.user_id = leads.user_id
            and events.occurred_at <= leads.landed_at + {{ scoring_delay }}
    where events.change_number > {{ newest_change_number(this) }}

    union

    -- The moment of scoring came since. Every lead whose moment is older stands here already, or
    -- it arrived since.
    select leads.user_id
    from {{ ref('int_leads') }} as leads
    where
        leads.landed_at > (
            select coalesce(max(known.as_of_at), cast('-infinity' as timestamptz))
            from {{ this }} as known
        ) - {{ scoring_delay }}

),

{% endif %}

selected_leads as (

    select *
    from ripe_leads
    {% if is_incremental() %}
    where user_id in (select touched_leads.user_id from touched_leads)
    {% endif %}

),

events as (

    {% if is_incremental() %}
    -- Lead by lead through the index: left to itself, the planner would read the whole table.
    select of_lead.*
    from selected_leads
    cross join
        lateral (
            select events.*
            from {{ ref('int_events_sessionized') }} as events
            where events.user_id = selected_leads.user_id
            offset 0 -- noqa: AM09
        ) as of_lead
    {% else %}
    select * from {{ ref('int_events_sessionized') }}
    {% endif %}

),

-- Point in time: nothing after the moment of scoring is read, so features and label share no event.
known_events as (

    select
        selected_leads.user_id,
        selected_leads.as_of_at,
        events.session_id,
        events.event_type,
        events.occurred_at
    from selected_leads
    inner join events
        on
            selected_leads.user_id = events.user_id
            and selected_leads.as_of_at >= events.occurred_at

),

sessions as (

    select
        user_id,
        session_id,
        max(as_of_at) as as_of_at,
        count(*) as n_events,
        count(*) filter (where event_type = 'page_viewed') as n_page_views,
        count(*) filter (where event_type = 'product_viewed') as n_product_views,
        count(*) filter (where event_type = 'pricing_viewed') as n_pricing_views,
        count(*) filter (where event_type = 'order_completed') as n_orders,
        max(occurred_at) filter (where event_type = 'page_viewed') as page_viewed_at,
        max(occurred_at) filter (where event_type = 'product_viewed') as product_viewed_at,
        max(occurred_at) filter (where event_type = 'pricing_viewed') as pricing_viewed_at,
        {{ seconds_between('min(occurred_at)', 'max(occurred_at)') }} / 60 as minutes
    from known_events
    group by user_id, session_id

),

totals as (

    select
        user_id,
        cast(sum(n_events) as bigint) as n_events,
        cast(sum(n_page_views) as bigint) as n_page_views,
        cast(sum(n_product_views) as bigint) as n_product_views,
        cast(sum(n_pricing_views) as bigint) as n_pricing_views,
        cast(sum(n_orders) as bigint) as n_orders,
        {{ seconds_between('max(page_viewed_at)', 'max(as_of_at)') }} / 3600
            as hours_since_page_view,
        {{ seconds_between('max(product_viewed_at)', 'max(as_of_at)') }} / 3600
            as hours_since_product_view,
        {{ seconds_between('max(pricing_viewed_at)', 'max(as_of_at)') }} / 3600
            as hours_since_pricing_view,
        count(*) as n_sessions,
        -- Decimal numbers add up to the same in any order.
        cast(avg(cast(minutes as numeric)) as double precision) as mean_session_minutes,
        max(minutes) as longest_session_minutes
    from sessions
    group by user_id

),

final as (

    select
        selected_leads.user_id as entity_id,

        selected_leads.utm_medium,
        selected_leads.utm_source,
        selected_leads.device,
        selected_leads.country,
        selected_leads.attributes,

        totals.n_events,
        totals.n_page_views,
        totals.n_product_views,
        totals.n_pricing_views,
        totals.n_orders,
        totals.hours_since_page_view,
        totals.hours_since_product_view,
        totals.hours_since_pricing_view,
        totals.n_sessions,
        totals.mean_session_minutes,
        totals.longest_session_minutes,
        cast(extract(hour from {{ reporting_time('selected_leads.landed_at') }}) as integer)
            as landed_hour,
        cast(extract(isodow from {{ reporting_time('selected_leads.landed_at') }}) as integer)
            as landed_weekday,

        selected_leads.as_of_at,
        {{ next_change_number() }} as change_number

    from selected_leads
    inner join totals
        on selected_leads.user_id = totals.user_id

)

select * from final
