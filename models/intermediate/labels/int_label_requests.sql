-- Feature rows carry the change number of the model that built them; predictions and assignments
-- carry the number and the time of their delivery.
with feature_rows as (

    select * from {{ ref('int_feature_rows') }}

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}
    where label_rule is not null

),

-- An event that answers two questions of an experiment is asked for once.
questions as (

    select distinct
        experiment,
        label_name
    from {{ ref('int_experiment_questions') }}

),

requests as (

    select
        tasks.task as label_name,
        'features' as requested_by,
        feature_rows.entity_id,
        feature_rows.as_of_at,
        feature_rows.change_number,
        cast(null as bigint) as delivery_id,
        cast(null as timestamptz) as loaded_at
    from feature_rows
    inner join tasks
        on feature_rows.features_model = tasks.features_model

    union all

    select
        task as label_name,
        run_kind || ' ' || model_version as requested_by,
        entity_id,
        as_of_at,
        cast(null as bigint) as change_number,
        delivery_id,
        loaded_at
    from {{ ref('stg_scoring__predictions') }}

    union all

    select
        questions.label_name,
        'assignment' as requested_by,
        assignments.entity_id,
        assignments.assigned_at as as_of_at,
        cast(null as bigint) as change_number,
        assignments.delivery_id,
        assignments.loaded_at
    from {{ ref('stg_scoring__assignments') }} as assignments
    inner join questions
        on assignments.experiment = questions.experiment

)

select * from requests
