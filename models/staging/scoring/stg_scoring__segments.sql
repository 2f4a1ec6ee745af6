with source as (

    select * from {{ source('scoring', 'segments') }}

),

renamed as (

    select
        task,
        model_version,
        segment_name,
        segment,
        n_entities
    from source

)

select * from renamed
