with tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

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

    union all

    select
        experiment as label_name,
        entity,
        outcome_event,
        'occurs' as label_rule,
        horizon_days
    from experiments

)

select * from rules
