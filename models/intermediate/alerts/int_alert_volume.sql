with rules as (

    select * from {{ ref('alert_rules') }}
    where rule = 'volume'

),

versions as (

    select * from {{ ref('int_watched_versions') }}

),

statistics as (

    select * from {{ ref('int_label_maturity_daily') }}

),

calendar as (

    select * from {{ ref('dim_date') }}

),

live_days as (

    select statistics.*
    from statistics
    inner join versions
        on
            statistics.task = versions.task
            and statistics.model_version = versions.model_version
    where statistics.run_kind = 'live'

),

first_days as (

    select
        task,
        model_version,
        min(prediction_date) as first_date
    from live_days
    group by task, model_version

),

-- Every complete day since the one after the first, which may have begun at noon.
complete_days as (

    select
        first_days.task,
        first_days.model_version,
        calendar.date_day as prediction_date,
        coalesce(live_days.n_predictions, 0) as n_predictions
    from first_days
    inner join calendar
        on
            first_days.first_date < calendar.date_day
            and calendar.date_day < {{ reporting_date(as_of()) }}
    left join live_days
        on
            first_days.task = live_days.task
            and first_days.model_version = live_days.model_version
            and calendar.date_day = live_days.prediction_date

),

medians as (

    select
        complete_days.task,
        complete_days.model_version,
        complete_days.prediction_date,
        complete_days.n_predictions,
        percentile_cont(0.5) within group (order by before.n_predictions) as median_before
    from complete_days
    cross join rules
    inner join complete_days as before
        on
            complete_days.task = before.task
            and complete_days.model_version = before.model_version
            and complete_days.prediction_date > before.prediction_date
            and complete_days.prediction_date <= before.prediction_date + rules.window_days
    group by
        complete_days.task,
        complete_days.model_version,
        complete_days.prediction_date,
        complete_days.n_predictions
    -- A week of days, so that one of them is alike.
    having count(*) >= 7

),

final as (

    select
        'volume' as rule,
        task,
        model_version,
        n_predictions || ' live predictions of ' || prediction_date || ' are '
        || round(cast({{ ratio('n_predictions', 'median_before') }} as numeric), 3)
        || ' of the median of the days before' as finding,
        {{ ratio('n_predictions', 'median_before') }} as value,
        median_before as n,
        prediction_date as measured_date
    from medians

)

select * from final
