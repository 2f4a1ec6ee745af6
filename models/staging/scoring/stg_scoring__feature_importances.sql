with source as (

    select * from {{ source('scoring', 'feature_importances') }}

),

renamed as (

    select
        task,
        model_version,
        feature,
        mean_importance,
        std_importance,
        n_sampled
    from source

)

select * from renamed
