with tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

questions as (

    select * from {{ ref('int_experiment_questions') }}

),

rules as (

    select
        task as label_name,
        entity,
        outcome_event,
        label_rule,
        horizon_days
    from tasks
    where label_rule is not null

    union

    select
        label_name,
        entity,
        event_type as outcome_event,
        'occurs' as label_rule,
        horizon_days
    from questions

)

select * from rules
