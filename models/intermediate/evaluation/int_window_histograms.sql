-- A day is a window too.
with days as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        'day' as window_grain,
        'day' as window_name,

        score_bins,
        n_predictions,
        n_mature,
        n_positives,
        cast(sum_score as double precision[]) as sum_score,
        cast(sum_mature_score as double precision[]) as sum_mature_score,

        prediction_date as window_start_date,
        prediction_date as window_end_date,
        change_number

    from {{ ref('int_score_histograms') }}

),

windows as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        'window' as window_grain,
        window_name,

        score_bins,
        n_predictions,
        n_mature,
        n_positives,
        sum_score,
        sum_mature_score,

        window_start_date,
        window_end_date,
        change_number

    from {{ ref('int_score_histogram_windows') }}

),

final as (

    select * from days
    union all
    select * from windows

)

select * from final
