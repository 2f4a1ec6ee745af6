with source as (

    select * from {{ source('scoring', 'models') }}

),

renamed as (

    select
        task,
        model_version,
        status,
        algorithm,
        reason,
        parameters,
        features,
        artifact_sha256,

        n_training_rows,
        n_out_of_time_rows,
        cast({{ json_text('metrics', "'log_loss'") }} as double precision)
            as out_of_time_log_loss,
        cast({{ json_text('metrics', "'brier_score'") }} as double precision)
            as out_of_time_brier_score,
        cast({{ json_text('metrics', "'roc_auc'") }} as double precision) as out_of_time_roc_auc,

        trained_at,
        trained_from,
        trained_through,
        judged_from,
        judged_through

    from source
    where trained_at <= {{ as_of() }}

)

select * from renamed
