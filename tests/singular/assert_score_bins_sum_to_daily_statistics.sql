-- The bins of a day hold its predictions, those of them that are mature, its positives and its sums
-- of scores, no more and no less.
with statistics as (

    select * from {{ ref('int_classification_daily') }}

),

bins as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        prediction_date,
        sum(n_predictions) as n_predictions,
        sum(n_mature) as n_mature,
        sum(n_positives) as n_positives,
        sum(sum_score) * 1e-12 as sum_score,
        sum(sum_mature_score) * 1e-12 as sum_mature_score
    from {{ ref('int_score_histogram_daily') }}
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

)

select
    coalesce(statistics.task, bins.task) as task,
    coalesce(statistics.model_version, bins.model_version) as model_version,
    coalesce(statistics.run_kind, bins.run_kind) as run_kind,
    coalesce(statistics.slice_name, bins.slice_name) as slice_name,
    coalesce(statistics.slice_value, bins.slice_value) as slice_value,
    coalesce(statistics.prediction_date, bins.prediction_date) as prediction_date,
    statistics.n_predictions,
    bins.n_predictions as n_predictions_in_bins,
    statistics.n_mature,
    bins.n_mature as n_mature_in_bins,
    statistics.n_positives,
    bins.n_positives as n_positives_in_bins,
    statistics.sum_score,
    bins.sum_score as sum_score_in_bins,
    statistics.sum_mature_score,
    bins.sum_mature_score as sum_mature_score_in_bins
from statistics
full outer join bins
    on
        statistics.task = bins.task
        and statistics.model_version = bins.model_version
        and statistics.run_kind = bins.run_kind
        and statistics.slice_name = bins.slice_name
        and statistics.slice_value = bins.slice_value
        and statistics.prediction_date = bins.prediction_date
where
    statistics.n_predictions is distinct from bins.n_predictions
    or statistics.n_mature is distinct from bins.n_mature
    or statistics.n_positives is distinct from bins.n_positives
    or statistics.sum_score is distinct from bins.sum_score
    or statistics.sum_mature_score is distinct from bins.sum_mature_score
