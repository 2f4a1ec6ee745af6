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
        metrics,
        artifact_sha256,

        n_training_rows,
        n_out_of_time_rows,
        cast({{ json_number('metrics', "'log_loss'") }} as double precision)
            as out_of_time_log_loss,
        cast({{ json_number('metrics', "'brier_score'") }} as double precision)
            as out_of_time_brier_score,
        cast({{ json_number('metrics', "'roc_auc'") }} as double precision)
            as out_of_time_roc_auc,

        trained_at,
        trained_from,
        trained_through,
        judged_from,
        judged_through

    -- As it stands, whatever `as_of` is: a promotion overwrites the status.
    from source

)

select * from renamed
