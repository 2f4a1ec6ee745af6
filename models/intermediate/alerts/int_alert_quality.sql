with rules as (

    select * from {{ ref('alert_rules') }}
    where rule in ('calibration', 'log_loss')

),

versions as (

    select * from {{ ref('int_watched_versions') }}

),

statistics as (

    select * from {{ ref('int_classification_daily') }}
    where slice_name = 'all' and n_mature > 0

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

windows as (

    select
        rules.rule,
        rules.window_days,
        live_days.task,
        live_days.model_version,
        live_days.prediction_date,
        sum(days.n_mature) as n_mature,
        {{ ratio('sum(days.sum_mature_score)', 'sum(days.n_mature)') }} as mean_score,
        {{ ratio('sum(days.n_positives)', 'sum(days.n_mature)') }} as base_rate,
        {{ ratio('sum(days.sum_log_loss)', 'sum(days.n_mature)') }} as log_loss
    from live_days
    cross join rules
    inner join live_days as days
        on
            live_days.task = days.task
            and live_days.model_version = days.model_version
            and live_days.prediction_date >= days.prediction_date
            and live_days.prediction_date < days.prediction_date + rules.window_days
    group by
        rules.rule,
        rules.window_days,
        live_days.task,
        live_days.model_version,
        live_days.prediction_date

),

judged as (

    select
        task,
        model_version,
        {{ ratio('sum(sum_log_loss)', 'sum(n_mature)') }} as log_loss
    from statistics
    where run_kind = 'backtest'
    group by task, model_version

),

final as (

    select
        rule,
        task,
        model_version,
        'over ' || window_days || ' days the mean score is '
        || round(cast(mean_score as numeric), 3) || ' and '
        || round(cast(base_rate as numeric), 3) || ' came true, off by '
        || round(cast(abs(mean_score - base_rate) as numeric), 3) as finding,
        abs(mean_score - base_rate) as value,
        n_mature as n,
        prediction_date as measured_date
    from windows
    where rule = 'calibration'

    union all

    select
        windows.rule,
        windows.task,
        windows.model_version,
        'over ' || windows.window_days || ' days the log loss is '
        || round(cast(windows.log_loss as numeric), 3) || ' and was '
        || round(cast(judged.log_loss as numeric), 3) || ' when the model was judged, '
        || round(cast(windows.log_loss / judged.log_loss as numeric), 3) || ' times as much'
            as finding,
        windows.log_loss / judged.log_loss as value,
        windows.n_mature as n,
        windows.prediction_date as measured_date
    from windows
    inner join judged
        on
            windows.task = judged.task
            and windows.model_version = judged.model_version
    where windows.rule = 'log_loss' and judged.log_loss > 0

)

select * from final
