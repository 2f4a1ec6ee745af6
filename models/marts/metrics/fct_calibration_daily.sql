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

with bins as (

    select * from {{ ref('int_calibration_bins') }}
    where
        window_name = 'day'
        {% if is_incremental() %}
        and change_number > {{ newest_change_number(this) }}
        {% endif %}

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

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

        window_start_date as prediction_date,
        change_number

    from bins

)

select * from final
