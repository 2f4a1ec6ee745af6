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

    select * from {{ ref('int_labelled_predictions') }}

),

{% if is_incremental() %}

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

final as (

    select
        task,
        model_version,
        run_kind,

        count(*) as n_predictions,
        count(*) filter (where label_status = 'pending') as n_pending,
        count(*) filter (where label_status = 'mature') as n_mature,
        count(*) filter (where label_status = 'mature' and label = 1) as n_positives,
        count(*) filter (where label_status = 'undefined') as n_undefined,

        max(as_of_at) as last_as_of_at,
        max(predicted_at) as last_predicted_at,
        max(horizon_ends_at) as last_horizon_ends_at,
        min(horizon_ends_at) filter (where label_status = 'pending')
            as first_pending_horizon_ends_at,
        prediction_date,
        {{ next_change_number() }} as change_number

    from selected_predictions
    group by task, model_version, run_kind, prediction_date

)

select * from final
