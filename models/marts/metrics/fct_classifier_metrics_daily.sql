with statistics as (

    select * from {{ ref('int_classification_daily') }}

),

calibration_bins as (

    select * from {{ ref('int_calibration_bins_daily') }}

),

histogram as (

    select * from {{ ref('int_score_histogram_daily') }}

),

calibration_errors as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        prediction_date,
        sum(abs(n_positives - sum_score)) / sum(n_mature) as expected_calibration_error,
        max(abs({{ ratio('n_positives - sum_score', 'n_mature') }})) as maximum_calibration_error
    from calibration_bins
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

),

ranked_bins as (

    select
        *,
        n_predictions - n_positives as n_negatives,
        coalesce(
            sum(n_predictions - n_positives) over (
                partition by
                    task, model_version, run_kind, slice_name, slice_value, prediction_date
                order by score_bin
                rows between unbounded preceding and 1 preceding
            ),
            0
        ) as n_negatives_below
    from histogram

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
            'sum(n_positives * (n_negatives_below + n_negatives / 2.0))',
            '(sum(n_positives) * sum(n_negatives))'
        ) }} as roc_auc,
        {{ ratio(
            'sum(n_positives * n_negatives)', '(2 * sum(n_positives) * sum(n_negatives))'
        ) }} as roc_auc_error_bound
    from ranked_bins
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

),

rates as (

    select
        *,
        {{ ratio('n_true_positives', '(n_true_positives + n_false_positives)') }} as precision,
        {{ ratio('n_true_positives', 'n_positives') }} as recall,
        {{ ratio('n_true_negatives', '(n_true_negatives + n_false_positives)') }} as specificity
    from statistics

),

final as (

    select
        rates.task,
        rates.model_version,
        rates.run_kind,
        rates.slice_name,
        rates.slice_value,

        rates.n_predictions,
        rates.n_pending,
        rates.n_mature,
        rates.n_positives,
        {{ ratio('rates.n_positives', 'rates.n_mature') }} as base_rate,
        {{ ratio('rates.sum_score', 'rates.n_mature') }} as mean_score,
        {{ ratio('(rates.n_true_positives + rates.n_true_negatives)', 'rates.n_mature') }}
            as accuracy,
        (rates.recall + rates.specificity) / 2 as balanced_accuracy,
        rates.precision,
        rates.recall,
        rates.specificity,
        {{ ratio(
            '2 * rates.n_true_positives',
            '(2 * rates.n_true_positives + rates.n_false_positives + rates.n_false_negatives)'
        ) }} as f1_score,
        {{ ratio('rates.sum_squared_error', 'rates.n_mature') }} as brier_score,
        {{ ratio('rates.sum_log_loss', 'rates.n_mature') }} as log_loss,
        ranks.roc_auc,
        ranks.roc_auc_error_bound,
        cast(calibration_errors.expected_calibration_error as double precision)
            as expected_calibration_error,
        calibration_errors.maximum_calibration_error,

        rates.prediction_date

    from rates
    left join calibration_errors
        on
            rates.task = calibration_errors.task
            and rates.model_version = calibration_errors.model_version
            and rates.run_kind = calibration_errors.run_kind
            and rates.slice_name = calibration_errors.slice_name
            and rates.slice_value = calibration_errors.slice_value
            and rates.prediction_date = calibration_errors.prediction_date
    left join ranks
        on
            rates.task = ranks.task
            and rates.model_version = ranks.model_version
            and rates.run_kind = ranks.run_kind
            and rates.slice_name = ranks.slice_name
            and rates.slice_value = ranks.slice_value
            and rates.prediction_date = ranks.prediction_date

)

select * from final
