{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['task', 'model_version', 'run_kind', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with predictions as (

    select * from {{ ref('int_prediction_slices') }}
    where score is not null and label_status = 'mature'

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_days as (

    select distinct
        task,
        model_version,
        run_kind,
        prediction_date
    from {{ ref('int_prediction_slices') }}
    where
        score is not null
        and label_status = 'mature'
        and slice_name = 'all'
        and change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_predictions as (

    select predictions.*
    from predictions
    {% if is_incremental() %}
    inner join touched_days
        on
            predictions.task = touched_days.task
            and predictions.model_version = touched_days.model_version
            and predictions.run_kind = touched_days.run_kind
            and predictions.prediction_date = touched_days.prediction_date
    {% endif %}

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        {{ score_bin('score', 1000) }} as score_bin,
        count(*) as n_predictions,
        count(*) filter (where label = 1) as n_positives,
        {{ exact_sum('score', 'true') }} as sum_score,

        prediction_date,
        {{ next_change_number() }} as change_number

    from selected_predictions
    group by
        task, model_version, run_kind, slice_name, slice_value, prediction_date, score_bin

)

select * from final
