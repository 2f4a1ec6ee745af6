with source as (

    select * from {{ source('scoring', 'partial_dependence') }}

),

renamed as (

    select
        task,
        model_version,
        feature,
        text_value,
        position,
        number_value,
        mean_prediction,
        n_sampled
    from source

)

select * from renamed
