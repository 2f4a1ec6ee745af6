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
    where score is not null

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
        and slice_name = 'all'
        and change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_predictions as (

    select
        predictions.*,
        predictions.label_status = 'mature' as is_mature,
        predictions.label = 1 as is_positive,
        predictions.score >= predictions.threshold as is_predicted_positive
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

        count(*) as n_predictions,
        count(*) filter (where label_status = 'pending') as n_pending,
        count(*) filter (where is_mature) as n_mature,
        count(*) filter (where is_mature and is_positive) as n_positives,
        count(*) filter (where is_mature and is_positive and is_predicted_positive)
            as n_true_positives,
        count(*) filter (where is_mature and not is_positive and is_predicted_positive)
            as n_false_positives,
        count(*) filter (where is_mature and not is_positive and not is_predicted_positive)
            as n_true_negatives,
        -- Predicted negative, and did convert.
        count(*) filter (where is_mature and is_positive and not is_predicted_positive)
            as n_false_negatives,
        {{ exact_sum('score', 'is_mature') }} as sum_score,
        {{ exact_sum(squared('score - label'), 'is_mature') }} as sum_squared_error,
        {{ exact_sum(log_loss('score', 'is_positive'), 'is_mature') }} as sum_log_loss,

        prediction_date,
        {{ next_change_number() }} as change_number

    from selected_predictions
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

)

select * from final
