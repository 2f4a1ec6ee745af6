with metrics as (

    select * from {{ ref('int_classifier_metrics') }}
    where window_grain = 'window'

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,

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

        window_start_date,
        window_end_date

    from metrics

)

select * from final
