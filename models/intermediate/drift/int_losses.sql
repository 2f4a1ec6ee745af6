with classification as (

    select * from {{ ref('int_classification_daily') }}
    where slice_name = 'all'

),

regression as (

    select * from {{ ref('int_regression_daily') }}
    where slice_name = 'all'

),

days as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        n_mature,
        sum_log_loss as sum_loss,
        sum_mature_score - n_positives as surplus
    from classification
    where n_mature > 0

    union all

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        n_mature,
        sum_squared_error as sum_loss,
        cast(null as numeric) as surplus
    from regression
    where n_mature > 0

),

with_newest_days as (

    select
        *,
        max(prediction_date) over (partition by task, model_version, run_kind) as newest_date
    from days

),

final as (

    select
        task,
        model_version,
        run_kind,

        cast(sum(n_mature) as bigint) as n_mature,
        {{ ratio('sum(sum_loss)', 'sum(n_mature)') }} as loss,
        {{ ratio('abs(sum(surplus))', 'sum(n_mature)') }} as calibration_error

    from with_newest_days
    -- What a version lost long ago must not hide what it loses now.
    where
        run_kind = 'backtest'
        or prediction_date > newest_date - {{ interval_of(var('drift_window_days'), 'day') }}
    group by task, model_version, run_kind

)

select * from final
