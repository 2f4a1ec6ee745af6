with histogram as (

    select * from {{ ref('int_score_histogram_daily') }}

),

-- The edges of ten bins are edges of the histogram too, so nothing is approximated here.
bins as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        score_bin / 100 as calibration_bin,
        cast(sum(n_predictions) as bigint) as n_mature,
        cast(sum(n_positives) as bigint) as n_positives,
        sum(sum_score) as sum_score,

        prediction_date

    from histogram
    group by
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        prediction_date,
        score_bin / 100

)

select * from bins
