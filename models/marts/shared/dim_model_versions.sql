with registered as (

    select * from {{ ref('stg_scoring__models') }}

),

predictions as (

    select * from {{ ref('int_labelled_predictions') }}

),

-- Somebody else's model leaves no registry entry, only predictions.
seen as (

    select
        task,
        model_version,
        count(*) as n_predictions,
        min(predicted_at) as first_predicted_at,
        max(predicted_at) as last_predicted_at
    from predictions
    group by task, model_version

),

final as (

    select
        coalesce(registered.task, seen.task) as task,
        coalesce(registered.model_version, seen.model_version) as model_version,
        coalesce(registered.status, 'external') as status,
        registered.algorithm,
        registered.reason,
        registered.parameters,
        registered.metrics,

        registered.n_training_rows,
        registered.n_out_of_time_rows,
        registered.out_of_time_log_loss,
        registered.out_of_time_brier_score,
        registered.out_of_time_roc_auc,
        coalesce(seen.n_predictions, 0) as n_predictions,

        registered.trained_at,
        registered.trained_from,
        registered.trained_through,
        registered.judged_from,
        registered.judged_through,
        seen.first_predicted_at,
        seen.last_predicted_at

    from registered
    full outer join seen
        on
            registered.task = seen.task
            and registered.model_version = seen.model_version

)

select * from final
