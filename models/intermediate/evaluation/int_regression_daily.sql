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

    -- An amount is no answer to a task that asks for something else.
    select
        {{ slice_values() }}
        *
    from {{ ref('int_labelled_predictions') }}
    where predicted_value is not null and {{ asks_for('regression') }}

),

{% if is_incremental() %}

-- Read from the table and not from the CTE, which would be written out if it were read twice.
touched_days as (

    {{ touched_days(
        ref('int_labelled_predictions'), ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

),

{% endif %}

selected_predictions as (

    {{ rows_of_touched(
        'predictions', 'touched_days', ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

),

-- Decimal numbers add up to the same in any order.
sliced_predictions as (

    select
        predictions.*,
        slices.slice_name,
        slices.slice_value,
        predictions.label_status = 'mature' as is_mature,
        cast(predictions.label as numeric) as actual,
        cast(predictions.predicted_value as numeric) - cast(predictions.label as numeric) as error
    from selected_predictions as predictions
    cross join lateral {{ slices_of('predictions') }} as slices (slice_name, slice_value)
    -- Who led to no assignment stands in no slice `arm`.
    where slices.slice_value is not null

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

    from sliced_predictions
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

)

select * from final
