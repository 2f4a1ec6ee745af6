{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='prediction_id',
        on_schema_change='fail',
        indexes=[
            {'columns': ['prediction_id'], 'unique': true},
            {'columns': ['task', 'model_version', 'run_kind', 'prediction_date', 'change_number']},
            {'columns': ['entity_id', 'task']},
            {'columns': ['change_number']},
            {'columns': ['delivery_id']},
            {'columns': ['loaded_at']},
        ]
    )
}}

with predictions as (

    select * from {{ ref('stg_scoring__predictions') }}

),

labels as (

    select * from {{ ref('int_labels') }}

),

assignments as (

    select
        prediction_id,
        experiment,
        entity_id,
        assigned_at,
        experiment || ':' || arm as arm
    from {{ ref('stg_scoring__assignments') }}
    where
        prediction_id is not null
        and experiment in (
            select experiments.experiment from {{ ref('dim_experiments') }} as experiments
        )

),

{% if is_incremental() %}

-- Asked of the models and not of the CTEs, which Postgres would write to disk if they were read
-- twice.
touched as (

    -- Predicted since.
    select predictions.prediction_id
    from {{ ref('stg_scoring__predictions') }} as predictions
    left join {{ this }} as known
        on predictions.prediction_id = known.prediction_id
    where
        {{ arrived_since(this, 'predictions') }}
        and known.prediction_id is null

    union

    -- Labelled since.
    select known.prediction_id
    from {{ ref('int_labels') }} as labels
    inner join {{ this }} as known
        on
            labels.entity_id = known.entity_id
            and labels.label_name = known.task
            and labels.as_of_at = known.as_of_at
    where labels.change_number > {{ newest_change_number(this) }}

    union

    -- Assigned to an arm since: an assignment asks for a label too.
    select known.prediction_id
    from {{ ref('int_labels') }} as labels
    inner join assignments
        on
            labels.label_name = assignments.experiment
            and labels.entity_id = assignments.entity_id
            and labels.as_of_at = assignments.assigned_at
    inner join {{ this }} as known
        on assignments.prediction_id = known.prediction_id
    where
        labels.change_number > {{ newest_change_number(this) }}
        and (
            known.arm is null
            or not {{ is_among_arms('assignments.arm', 'known.arm') }}
        )

),

{% endif %}

selected_predictions as (

    select *
    from predictions
    {% if is_incremental() %}
    where prediction_id in (select touched.prediction_id from touched)
    {% endif %}

),

-- One prediction may drive several experiments; it stays one row.
arms as (

    select
        prediction_id,
        {{ dbt.listagg('arm', "'+'", 'order by arm') }} as arm
    from assignments
    {% if is_incremental() %}
    where prediction_id in (select touched.prediction_id from touched)
    {% endif %}
    group by prediction_id

),

final as (

    select
        selected_predictions.prediction_id,
        selected_predictions.delivery_id,
        selected_predictions.entity_id,

        selected_predictions.task,
        selected_predictions.model_version,
        selected_predictions.run_kind,
        selected_predictions.attributes,
        arms.arm,
        -- Without a label row the registry does not know the task, or gives it no label.
        coalesce(labels.label_status, 'undefined') as label_status,

        selected_predictions.score,
        selected_predictions.predicted_value,
        selected_predictions.segment,
        selected_predictions.threshold,
        labels.label,

        selected_predictions.prediction_date,
        selected_predictions.as_of_at,
        selected_predictions.predicted_at,
        labels.horizon_ends_at,
        selected_predictions.loaded_at,
        {{ next_change_number() }} as change_number

    from selected_predictions
    -- Never an inner join: a prediction without a label stays.
    left join labels
        on
            selected_predictions.task = labels.label_name
            and selected_predictions.entity_id = labels.entity_id
            and selected_predictions.as_of_at = labels.as_of_at
    left join arms
        on selected_predictions.prediction_id = arms.prediction_id

)

select * from final
