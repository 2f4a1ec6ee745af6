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

histograms as (

    select * from {{ ref('int_score_histograms') }}

),

-- A day is counted by one statement and binned by another.
touched_days as (

    {{ changed_keys(
        [ref('int_classification_daily'), ref('int_score_histograms')],
        ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

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

-- Each histogram is unfolded by itself: joined first and ranked together, the planner would rank
-- them all once for each.
ranks as (

    select
        counts.*,
        areas.estimated_roc_auc,
        areas.estimated_roc_auc_error_bound,
        areas.roc_auc_so_far
    from counts
    left join histograms
        on
            counts.task = histograms.task
            and counts.model_version = histograms.model_version
            and counts.run_kind = histograms.run_kind
            and counts.slice_name = histograms.slice_name
            and counts.slice_value = histograms.slice_value
            and counts.prediction_date = histograms.prediction_date
    cross join
        lateral (

            -- A calibrated score s is s of a positive and 1 - s of a negative.
            with bins as (

                select
                    score_bin,
                    sum_score * 1e-12 as expected_positives,
                    n_predictions - sum_score * 1e-12 as expected_negatives,
                    cast(n_positives as bigint) as n_positives,
                    cast(n_mature - n_positives as bigint) as n_negatives
                from {{ histogram_bins('histograms') }}

            ),

            ranked as (

                select
                    *,
                    sum(n_negatives) over (order by score_bin) - n_negatives as n_negatives_below,
                    sum(expected_negatives) over (order by score_bin) - expected_negatives
                        as expected_negatives_below
                from bins

            )

            -- A positive and a negative of one bin count as a tie; at worst half of those pairs
            -- are wrong.
            select
                {{ ratio(
                    'sum(expected_positives * (expected_negatives_below + expected_negatives / 2))',
                    '(sum(expected_positives) * sum(expected_negatives))'
                ) }} as estimated_roc_auc,
                {{ ratio(
                    'sum(expected_positives * expected_negatives)',
                    '(2 * sum(expected_positives) * sum(expected_negatives))'
                ) }} as estimated_roc_auc_error_bound,
                {{ ratio(
                    'sum(n_positives * (n_negatives_below + n_negatives / 2.0))',
                    '(sum(n_positives) * sum(n_negatives))'
                ) }} as roc_auc_so_far
            from ranked

        ) as areas

),

performance as (

    select
        ranks.*,
        {{ ratio('ranks.expected_true_positives', 'ranks.n_predicted_positives') }}
            as estimated_precision,
        {{ ratio('ranks.expected_true_positives', 'ranks.sum_score') }} as estimated_recall,
        {{ ratio(
            '2 * ranks.expected_true_positives',
            '(ranks.n_predicted_positives + ranks.sum_score)'
        ) }} as estimated_f1_score,
        {{ ratio(
            '(ranks.expected_true_positives + ranks.expected_true_negatives)',
            'ranks.n_predictions'
        ) }} as estimated_accuracy,
        case when ranks.is_mature then {{ ratio(
            'ranks.n_true_positives', '(ranks.n_true_positives + ranks.n_false_positives)'
        ) }} end as realised_precision,
        case when ranks.is_mature then {{ ratio(
            'ranks.n_true_positives', 'ranks.n_positives'
        ) }} end as realised_recall,
        case when ranks.is_mature then {{ ratio(
            '2 * ranks.n_true_positives',
            '(2 * ranks.n_true_positives + ranks.n_false_positives + ranks.n_false_negatives)'
        ) }} end as realised_f1_score,
        case when ranks.is_mature then {{ ratio(
            '(ranks.n_true_positives + ranks.n_true_negatives)', 'ranks.n_mature'
        ) }} end as realised_accuracy,
        case when ranks.is_mature then ranks.roc_auc_so_far end as realised_roc_auc
    from ranks

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
