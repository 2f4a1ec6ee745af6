with rules as (

    select * from {{ ref('alert_rules') }}
    where rule = 'quarantine'

),

deliveries as (

    select * from {{ ref('int_deliveries_daily') }}

),

windows as (

    select
        rules.window_days,
        deliveries.loaded_date,
        sum(days.n_delivered) as n_delivered,
        sum(days.n_quarantined) as n_quarantined
    from deliveries
    cross join rules
    inner join deliveries as days
        on
            deliveries.loaded_date >= days.loaded_date
            and deliveries.loaded_date < days.loaded_date + rules.window_days
    group by rules.window_days, deliveries.loaded_date

),

newest as (

    select
        max(loaded_at) as loaded_at,
        max(loaded_date) as loaded_date
    from deliveries

),

final as (

    select
        'quarantine' as rule,
        n_quarantined || ' of ' || n_delivered || ' events delivered over ' || window_days
        || ' days were quarantined, a share of '
        || round(cast({{ ratio('n_quarantined', 'n_delivered') }} as numeric), 3) as finding,
        {{ ratio('n_quarantined', 'n_delivered') }} as value,
        n_delivered as n,
        loaded_date as measured_date
    from windows

    union all

    select
        'stale_events' as rule,
        'the newest event was loaded '
        || round(cast({{ seconds_between('loaded_at', as_of()) }} / 3600 as numeric), 1)
        || ' hours ago' as finding,
        {{ seconds_between('loaded_at', as_of()) }} / 3600 as value,
        1 as n,
        loaded_date as measured_date
    from newest
    -- Before the first event there is nothing to be late.
    where loaded_at is not null

)

select * from final
