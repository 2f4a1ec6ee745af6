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
    where predicted_value is not null

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
        predicted_value is not null
        and slice_name = 'all'
        and change_number > {{ newest_change_number(this) }}

),

{% endif %}

-- Decimal numbers add up to the same in any order.
selected_predictions as (

    select
        predictions.*,
        predictions.label_status = 'mature' as is_mature,
        cast(predictions.label as numeric) as actual,
        cast(predictions.predicted_value as numeric) - cast(predictions.label as numeric) as error
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
        coalesce(sum(error) filter (where is_mature), 0) as sum_error,
        coalesce(sum(abs(error)) filter (where is_mature), 0) as sum_absolute_error,
        coalesce(sum(error * error) filter (where is_mature), 0) as sum_squared_error,
        coalesce(sum(actual) filter (where is_mature), 0) as sum_actual,
        coalesce(sum(actual * actual) filter (where is_mature), 0) as sum_squared_actual,

        prediction_date,
        {{ next_change_number() }} as change_number

    from selected_predictions
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

)

select * from final
