with source as (

    select * from {{ source('scoring', 'curves') }}

),

renamed as (

    select
        task,
        model_version,
        position,
        threshold,
        true_positive_rate,
        false_positive_rate,
        precision_rate
    from source

)

select * from renamed
