{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['task', 'model_version', 'run_kind', 'prediction_date']},
        ]
    )
}}

with statistics as (

    select * from {{ ref('int_classification_daily') }}

),

histogram as (

    select * from {{ ref('int_score_histogram_daily') }}

),

touched_days as (

    select distinct
        task,
        model_version,
        run_kind,
        prediction_date
    from statistics
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}

),

-- A calibrated score s is s of a positive and 1 - s of a negative.
ranked_bins as (

    select
        histogram.*,
        histogram.n_mature - histogram.n_positives as n_negatives,
        histogram.n_predictions - histogram.sum_score as expected_negatives,
        sum(histogram.n_mature - histogram.n_positives) over bins_so_far
        - (histogram.n_mature - histogram.n_positives) as n_negatives_below,
        sum(histogram.n_predictions - histogram.sum_score) over bins_so_far
        - (histogram.n_predictions - histogram.sum_score) as expected_negatives_below
    from histogram
    inner join touched_days
        on
            histogram.task = touched_days.task
            and histogram.model_version = touched_days.model_version
            and histogram.run_kind = touched_days.run_kind
            and histogram.prediction_date = touched_days.prediction_date
    window bins_so_far as (
        partition by
            histogram.task,
            histogram.model_version,
            histogram.run_kind,
            histogram.slice_name,
            histogram.slice_value,
            histogram.prediction_date
        order by histogram.score_bin
    )

),

-- A positive and a negative of one bin count as a tie; at worst half of those pairs are wrong.
ranks as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        prediction_date,
        {{ ratio(
            'sum(sum_score * (expected_negatives_below + expected_negatives / 2))',
            '(sum(sum_score) * sum(expected_negatives))'
        ) }} as estimated_roc_auc,
        {{ ratio(
            'sum(sum_score * expected_negatives)',
            '(2 * sum(sum_score) * sum(expected_negatives))'
        ) }} as estimated_roc_auc_error_bound,
        {{ ratio(
            'sum(n_positives * (n_negatives_below + n_negatives / 2.0))',
            '(sum(n_positives) * sum(n_negatives))'
        ) }} as realised_roc_auc
    from ranked_bins
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

),

-- What the confusion matrix is expected to be, and what it is once every label has come of age.
counts as (

    select
        statistics.*,
        statistics.sum_predicted_positive_score as expected_true_positives,
        statistics.n_predicted_positives - statistics.sum_predicted_positive_score
            as expected_false_positives,
        statistics.sum_score - statistics.sum_predicted_positive_score as expected_false_negatives,
        statistics.n_predictions - statistics.n_predicted_positives
        - (statistics.sum_score - statistics.sum_predicted_positive_score)
            as expected_true_negatives,
        statistics.n_mature = statistics.n_predictions as is_mature
    from statistics
    inner join touched_days
        on
            statistics.task = touched_days.task
            and statistics.model_version = touched_days.model_version
            and statistics.run_kind = touched_days.run_kind
            and statistics.prediction_date = touched_days.prediction_date

),

performance as (

    select
        counts.*,
        {{ ratio('counts.expected_true_positives', 'counts.n_predicted_positives') }}
            as estimated_precision,
        {{ ratio('counts.expected_true_positives', 'counts.sum_score') }} as estimated_recall,
        {{ ratio(
            '2 * counts.expected_true_positives',
            '(counts.n_predicted_positives + counts.sum_score)'
        ) }} as estimated_f1_score,
        {{ ratio(
            '(counts.expected_true_positives + counts.expected_true_negatives)',
            'counts.n_predictions'
        ) }} as estimated_accuracy,
        ranks.estimated_roc_auc,
        ranks.estimated_roc_auc_error_bound,
        case when counts.is_mature then {{ ratio(
            'counts.n_true_positives', '(counts.n_true_positives + counts.n_false_positives)'
        ) }} end as realised_precision,
        case when counts.is_mature then {{ ratio(
            'counts.n_true_positives', 'counts.n_positives'
        ) }} end as realised_recall,
        case when counts.is_mature then {{ ratio(
            '2 * counts.n_true_positives',
            '(2 * counts.n_true_positives + counts.n_false_positives + counts.n_false_negatives)'
        ) }} end as realised_f1_score,
        case when counts.is_mature then {{ ratio(
            '(counts.n_true_positives + counts.n_true_negatives)', 'counts.n_mature'
        ) }} end as realised_accuracy,
        case when counts.is_mature then ranks.realised_roc_auc end as realised_roc_auc
    from counts
    left join ranks
        on
            counts.task = ranks.task
            and counts.model_version = ranks.model_version
            and counts.run_kind = ranks.run_kind
            and counts.slice_name = ranks.slice_name
            and counts.slice_value = ranks.slice_value
            and counts.prediction_date = ranks.prediction_date

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        n_predictions,
        n_pending,
        n_mature,
        n_predicted_positives,
        cast(expected_true_positives as double precision) as expected_true_positives,
        cast(expected_false_positives as double precision) as expected_false_positives,
        cast(expected_true_negatives as double precision) as expected_true_negatives,
        cast(expected_false_negatives as double precision) as expected_false_negatives,
        {% for name in ['precision', 'recall', 'f1_score', 'accuracy', 'roc_auc'] %}
        estimated_{{ name }},
        realised_{{ name }},
        estimated_{{ name }} - realised_{{ name }} as {{ name }}_error,
        {% endfor %}
        estimated_roc_auc_error_bound,

        prediction_date,
        {{ next_change_number() }} as change_number

    from performance

)

select * from final
