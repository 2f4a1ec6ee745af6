with source as (

    select * from {{ source('scoring', 'training_trials') }}

),

renamed as (

    select
        task,
        model_version,
        algorithm,
        parameters,
        trial,
        mean_score,
        std_score,
        fit_seconds
    from source

)

select * from renamed
