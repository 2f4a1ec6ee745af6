with source as (

    select * from {{ source('scoring', 'cluster_profiles') }}

),

renamed as (

    select
        task,
        model_version,
        feature,
        level,
        segment,
        position,
        segment_mean,
        overall_mean,
        z_score
    from source

)

select * from renamed
