with statistics as (

    select * from {{ ref('int_classification_windows') }}

),

histogram_metrics as (

    select * from {{ ref('int_histogram_metrics') }}

),

rates as (

    select
        *,
        {{ ratio('n_positives', 'n_mature') }} as base_rate,
        {{ ratio('n_true_positives', '(n_true_positives + n_false_positives)') }} as precision,
        {{ ratio('n_true_positives', 'n_positives') }} as recall,
        {{ ratio('n_true_negatives', '(n_true_negatives + n_false_positives)') }} as specificity,
        -- Squares that are each as good as zero may add up to a rounding below it.
        {{ ratio('greatest(sum_squared_error, 0)', 'n_mature') }} as brier_score
    from statistics

),

final as (

    select
        rates.task,
        rates.model_version,
        rates.run_kind,
        rates.slice_name,
        rates.slice_value,
        rates.window_grain,
        rates.window_name,

        rates.n_predictions,
        rates.n_pending,
        rates.n_mature,
        rates.n_positives,
        rates.n_true_positives,
        rates.n_false_positives,
        rates.n_true_negatives,
        rates.n_false_negatives,
        rates.base_rate,
        {{ ratio('rates.sum_mature_score', 'rates.n_mature') }} as mean_score,

        {{ ratio('(rates.n_true_positives + rates.n_true_negatives)', 'rates.n_mature') }}
            as accuracy,
        (rates.recall + rates.specificity) / 2 as balanced_accuracy,
        rates.precision,
        {{ wilson_bound(
            'rates.n_true_positives', '(rates.n_true_positives + rates.n_false_positives)', 'lower'
        ) }} as precision_lower,
        {{ wilson_bound(
            'rates.n_true_positives', '(rates.n_true_positives + rates.n_false_positives)', 'upper'
        ) }} as precision_upper,
        rates.recall,
        {{ wilson_bound('rates.n_true_positives', 'rates.n_positives', 'lower') }}
            as recall_lower,
        {{ wilson_bound('rates.n_true_positives', 'rates.n_positives', 'upper') }}
            as recall_upper,
        rates.specificity,
        {{ ratio(
            '2 * rates.n_true_positives',
            '(2 * rates.n_true_positives + rates.n_false_positives + rates.n_false_negatives)'
        ) }} as f1_score,
        {{ matthews_correlation(
            'rates.n_true_positives',
            'rates.n_false_positives',
            'rates.n_true_negatives',
            'rates.n_false_negatives'
        ) }} as matthews_correlation,

        histogram_metrics.roc_auc,
        case when histogram_metrics.roc_auc_variance > 0 then greatest(
            0,
            histogram_metrics.roc_auc
            - {{ normal_quantile('0.975') }} * sqrt(histogram_metrics.roc_auc_variance)
        ) end as roc_auc_lower,
        case when histogram_metrics.roc_auc_variance > 0 then least(
            1,
            histogram_metrics.roc_auc
            + {{ normal_quantile('0.975') }} * sqrt(histogram_metrics.roc_auc_variance)
        ) end as roc_auc_upper,
        histogram_metrics.roc_auc_error_bound,
        histogram_metrics.average_precision,
        histogram_metrics.ks_statistic,
        histogram_metrics.top_decile_lift,

        {{ ratio('rates.sum_log_loss', 'rates.n_mature') }} as log_loss,
        rates.brier_score,
        histogram_metrics.brier_reliability,
        -- What is left of Murphy's identity: the resolution of the bins, and of the scores within
        -- them.
        histogram_metrics.brier_reliability + rates.base_rate * (1 - rates.base_rate)
        - rates.brier_score as brier_resolution,
        rates.base_rate * (1 - rates.base_rate) as brier_uncertainty,
        histogram_metrics.expected_calibration_error,
        histogram_metrics.maximum_calibration_error,
        {{ spiegelhalter_z(
            'rates.n_positives',
            'rates.sum_positive_score',
            'rates.sum_mature_score',
            'rates.sum_mature_score_2',
            'rates.sum_mature_score_3',
            'rates.sum_mature_score_4'
        ) }} as spiegelhalter_z,

        rates.window_start_date,
        rates.window_end_date,
        rates.change_number as statistics_change_number,
        histogram_metrics.change_number as histogram_change_number

    from rates
    left join histogram_metrics
        on
            rates.task = histogram_metrics.task
            and rates.model_version = histogram_metrics.model_version
            and rates.run_kind = histogram_metrics.run_kind
            and rates.slice_name = histogram_metrics.slice_name
            and rates.slice_value = histogram_metrics.slice_value
            -- Said once more, so that who asks for windows has no day unfolded.
            and rates.window_grain = histogram_metrics.window_grain
            and rates.window_name = histogram_metrics.window_name
            and rates.window_start_date = histogram_metrics.window_start_date

)

select * from final
