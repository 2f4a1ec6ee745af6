with source as (

    select * from {{ source('scoring', 'experiments') }}

),

renamed as (

    select
        experiment,
        salt,
        arms,

        begun_at,
        loaded_at

    from source
    where loaded_at <= {{ as_of() }}

)

select * from renamed
