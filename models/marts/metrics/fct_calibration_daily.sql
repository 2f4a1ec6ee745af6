with bins as (

    select * from {{ ref('int_calibration_bins_daily') }}

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        calibration_bin,
        {{ ratio('calibration_bin', 10) }} as score_from,
        {{ ratio('(calibration_bin + 1)', 10) }} as score_to,
        n_mature,
        n_positives,
        sum_score,
        {{ ratio('sum_score', 'n_mature') }} as mean_score,
        {{ ratio('n_positives', 'n_mature') }} as observed_rate,
        {{ wilson_bound('n_positives', 'n_mature', 'lower') }} as observed_rate_lower,
        {{ wilson_bound('n_positives', 'n_mature', 'upper') }} as observed_rate_upper,

        prediction_date

    from bins

)

select * from final
