with statistics as (

    select * from {{ ref('int_label_maturity_daily') }}

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

final as (

    select
        statistics.task,
        statistics.model_version,
        statistics.run_kind,

        statistics.n_predictions,
        statistics.n_pending,
        statistics.n_mature,
        case when tasks.kind = 'binary' then statistics.n_positives end as n_positives,
        case when tasks.kind = 'binary' then statistics.n_mature - statistics.n_positives end
            as n_negatives,
        statistics.n_undefined,
        {{ ratio('statistics.n_mature', '(statistics.n_mature + statistics.n_pending)') }}
            as mature_share,
        statistics.n_pending = 0 as is_complete,

        statistics.prediction_date,
        statistics.last_horizon_ends_at as complete_at

    from statistics
    left join tasks
        on statistics.task = tasks.task

)

select * from final
