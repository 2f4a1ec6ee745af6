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
        (
            labelled_predictions.score is not null
            and coalesce(tasks.kind, 'binary') = 'binary'
        )
        or (
            labelled_predictions.predicted_value is not null
            and coalesce(tasks.kind, 'regression') = 'regression'
        )

),

task_slices as (

    {{ task_slices() }}

),

sliced as (

    select
        predictions.*,
        slices.slice_name,
        slices.slice_value
    from predictions
    cross join
        lateral (
            select
                'all' as slice_name,
                'all' as slice_value

            union all

            select
                task_slices.slice_name,
                coalesce(
                    {{ json_text('predictions.attributes', 'task_slices.slice_name') }}, 'unknown'
                ) as slice_value
            from task_slices
            where task_slices.task = predictions.task

            union all

            select
                'arm' as slice_name,
                predictions.arm as slice_value
            where predictions.arm is not null
        ) as slices

)

select * from sliced
