{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['task', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

-- A day is counted by one statement and binned by another.
with days as (

    {{ changed_keys(
        [ref('int_classification_daily'), ref('int_score_histograms')],
        ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

),

-- Day by day, so that an increment unfolds no other histograms.
metrics as (

    select of_day.*
    from days
    cross join
        lateral (
            select metrics.*
            from {{ ref('int_classifier_metrics') }} as metrics
            where
                metrics.window_grain = 'day'
                and metrics.task = days.task
                and metrics.model_version = days.model_version
                and metrics.run_kind = days.run_kind
                and metrics.window_start_date = days.prediction_date
            offset 0 -- noqa: AM09
        ) as of_day

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
        n_positives,
        n_true_positives,
        n_false_positives,
        n_true_negatives,
        n_false_negatives,
        base_rate,
        mean_score,

        accuracy,
        balanced_accuracy,
        precision,
        precision_lower,
        precision_upper,
        recall,
        recall_lower,
        recall_upper,
        specificity,
        f1_score,
        matthews_correlation,

        roc_auc,
        roc_auc_lower,
        roc_auc_upper,
        roc_auc_error_bound,
        average_precision,
        ks_statistic,
        top_decile_lift,

        log_loss,
        brier_score,
        brier_reliability,
        brier_resolution,
        brier_uncertainty,
        expected_calibration_error,
        maximum_calibration_error,
        spiegelhalter_z,

        window_start_date as prediction_date,
        greatest(statistics_change_number, histogram_change_number) as change_number

    from metrics

)

select * from final
