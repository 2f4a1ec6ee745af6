with source as (

    select * from {{ source('scoring', 'predictions') }}

),

renamed as (

    select
        prediction_id,
        delivery_id,
        entity_id,

        task,
        model_version,
        run_kind,
        attributes,

        score,
        predicted_value,
        segment,
        threshold,

        as_of_at,
        predicted_at,
        loaded_at,
        {{ reporting_date('as_of_at') }} as prediction_date

    from source
    where loaded_at <= {{ as_of() }}

)

select * from renamed
