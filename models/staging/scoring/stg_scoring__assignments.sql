with source as (

    select * from {{ source('scoring', 'assignments') }}

),

renamed as (

    select
        {{ dbt_utils.generate_surrogate_key(['experiment', 'entity_id']) }} as assignment_id,
        delivery_id,
        entity_id,
        prediction_id,

        experiment,
        arm,

        offer_amount,

        assigned_at,
        loaded_at,
        {{ reporting_date('assigned_at') }} as assignment_date

    from source
    where loaded_at <= {{ as_of() }}

)

select * from renamed
