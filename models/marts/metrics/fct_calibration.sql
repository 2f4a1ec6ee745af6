with bins as (

    select * from {{ ref('int_calibration_bins') }}
    where window_name != 'day'

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,

        binning,
        calibration_bin,
        score_from,
        score_to,
        n_mature,
        n_positives,
        mean_score,
        observed_rate,
        observed_rate_lower,
        observed_rate_upper,

        window_start_date,
        window_end_date

    from bins

)

select * from final
