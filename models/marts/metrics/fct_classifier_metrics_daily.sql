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

with metrics as (

    -- A day is counted and binned by two statements, each of which numbers all its rows alike. Both
    -- numbers have to be new: asked of either side, it leaves out what is old before it is joined.
    select * from {{ ref('int_classifier_metrics') }}
    where
        window_grain = 'day'
        {% if is_incremental() %}
        and statistics_change_number > {{ newest_change_number(this) }}
        and histogram_change_number > {{ newest_change_number(this) }}
        {% endif %}

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
        least(statistics_change_number, histogram_change_number) as change_number

    from metrics

)

select * from final
