{{
    config(
        materialized='table',
        sql_header=before_adding_up(),
        post_hook='analyze {{ this }}',
    )
}}

with histograms as (

    select * from {{ ref('int_score_histograms') }}

),

windows as (

    select * from {{ ref('int_evaluation_windows') }}

),

bins as (

    select
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,
        windows.window_name,

        bins.score_bin,
        cast(sum(bins.n_predictions) as integer) as n_predictions,
        cast(sum(bins.n_mature) as integer) as n_mature,
        cast(sum(bins.n_positives) as integer) as n_positives,
        -- Whole numbers up to here: in whatever order days are added up, it is the same double.
        cast(sum(bins.sum_score) as double precision) as sum_score,
        cast(sum(bins.sum_mature_score) as double precision) as sum_mature_score,

        windows.window_start_date,
        windows.window_end_date,
        max(histograms.change_number) as change_number

    from histograms
    inner join windows
        on
            histograms.task = windows.task
            and histograms.run_kind = windows.run_kind
            and histograms.prediction_date
            between windows.window_start_date and windows.window_end_date
    cross join lateral {{ histogram_bins('histograms') }}
    group by
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,
        windows.window_name,
        windows.window_start_date,
        windows.window_end_date,
        bins.score_bin

),

-- As in `int_score_histograms`: sorted by bin alone, then hashed.
ordered_bins as (

    select * from bins
    order by score_bin

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,

        array_agg(score_bin) as score_bins,
        array_agg(n_predictions) as n_predictions,
        array_agg(n_mature) as n_mature,
        array_agg(n_positives) as n_positives,
        array_agg(sum_score) as sum_score,
        array_agg(sum_mature_score) as sum_mature_score,

        window_start_date,
        window_end_date,
        max(change_number) as change_number

    from ordered_bins
    group by
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,
        window_start_date,
        window_end_date

)

select * from final
