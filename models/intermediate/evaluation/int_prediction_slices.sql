-- Every prediction stands here once in the slice `all`, once for each slice of its task, and once
-- in the slice `arm` if an experiment assigned it.
with labelled_predictions as (

    select * from {{ ref('int_labelled_predictions') }}

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

-- A score is no answer to a task that asks for something else.
predictions as (

    select labelled_predictions.*
    from labelled_predictions
    left join tasks
        on labelled_predictions.task = tasks.task
    where
        labelled_predictions.score is not null
        and coalesce(tasks.kind, 'binary') = 'binary'

),

task_slices as (

    {{ task_slices() }}

),

sliced as (

    select
        predictions.*,
        'all' as slice_name,
        'all' as slice_value
    from predictions

    union all

    select
        predictions.*,
        task_slices.slice_name,
        coalesce({{ json_text('predictions.attributes', 'task_slices.slice_name') }}, 'unknown')
            as slice_value
    from predictions
    inner join task_slices
        on predictions.task = task_slices.task

    union all

    select
        predictions.*,
        'arm' as slice_name,
        predictions.arm as slice_value
    from predictions
    where predictions.arm is not null

)

select * from sliced
