with histograms as (

    select * from {{ ref('int_score_histograms') }}

),

bins as (

    select
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,

        bins.score_bin,
        cast(bins.n_predictions as bigint) as n_predictions,
        cast(bins.n_mature as bigint) as n_mature,
        cast(bins.n_positives as bigint) as n_positives,
        bins.sum_score,
        bins.sum_mature_score,

        histograms.prediction_date,
        histograms.change_number

    from histograms
    cross join lateral {{ histogram_bins('histograms') }}

)

select * from bins
