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

{% set first_day = interval_of(24, 'hour') %}

with registrations as (

    select
        *,
        registered_at + {{ first_day }} as as_of_at
    from {{ ref('int_registrations') }}

),

postcodes as (

    select * from {{ ref('postcode_socioeconomic_index') }}

),

ripe_players as (

    select *
    from registrations
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
touched_players as (

    -- What happened on the first day arrived since.
    select players.user_id
    from {{ ref('int_events_sessionized') }} as events
    inner join {{ ref('int_registrations') }} as players
        on
            events.user_id = players.user_id
            and events.occurred_at <= players.registered_at + {{ first_day }}
    where events.change_number > {{ newest_change_number(this) }}

    union

    -- The first day ended since.
    select players.user_id
    from {{ ref('int_registrations') }} as players
    where
        players.registered_at > (
            select coalesce(max(known.as_of_at), cast('-infinity' as timestamptz))
            from {{ this }} as known
        ) - {{ first_day }}

),

{% endif %}

selected_players as (

    select *
    from ripe_players
    {% if is_incremental() %}
    where user_id in (select touched_players.user_id from touched_players)
    {% endif %}

),

events as (

    {% if is_incremental() %}
    -- Player by player through the index: left to itself, the planner would read the whole table.
    select of_player.*
    from selected_players
    cross join
        lateral (
            select events.*
            from {{ ref('int_events_sessionized') }} as events
            where events.user_id = selected_players.user_id
            offset 0 -- noqa: AM09
        ) as of_player
    {% else %}
    select * from {{ ref('int_events_sessionized') }}
    {% endif %}

),

amounts as (

    select
        selected_players.user_id,
        events.event_type,
        events.amount
    from selected_players
    inner join events
        on
            selected_players.user_id = events.user_id
            and selected_players.as_of_at >= events.occurred_at
            and selected_players.registered_at <= events.occurred_at
    where events.event_type in ('new_purchase', 'new_bet', 'new_win')

),

statistics as (

    select
        user_id,
        {% for event in ['purchase', 'bet', 'win'] %}
        coalesce(sum(amount) filter (where event_type = 'new_{{ event }}'), 0) as {{ event }}_sum,
        avg(amount) filter (where event_type = 'new_{{ event }}') as {{ event }}_mean,
        count(*) filter (where event_type = 'new_{{ event }}') as {{ event }}_count,
        var_samp(amount) filter (where event_type = 'new_{{ event }}') as {{ event }}_var
        {%- if not loop.last %},{% endif %}
        {% endfor %}
    from amounts
    group by user_id

),

final as (

    select
        players.user_id as entity_id,

        players.country,
        players.campaign,

        coalesce(statistics.purchase_sum, 0) as purchase_sum,
        statistics.purchase_mean,
        coalesce(statistics.purchase_count, 0) as purchase_count,
        statistics.purchase_var,
        coalesce(statistics.bet_sum, 0) as bet_sum,
        statistics.bet_mean,
        coalesce(statistics.bet_count, 0) as bet_count,
        statistics.bet_var,
        coalesce(statistics.win_sum, 0) as win_sum,
        statistics.win_mean,
        coalesce(statistics.win_count, 0) as win_count,
        statistics.win_var,
        -- Nobody is born after registering.
        case
            when players.date_of_birth <= {{ reporting_date('players.registered_at') }}
                then {{ full_years_between(
                    'players.date_of_birth', reporting_date('players.registered_at')
                ) }}
        end as age,
        postcodes.socioeconomic_index,

        players.as_of_at,
        {{ next_change_number() }} as change_number

    from selected_players as players
    left join statistics
        on players.user_id = statistics.user_id
    left join postcodes
        on
            players.country = postcodes.country
            and players.postcode = postcodes.postcode

)

select * from final
