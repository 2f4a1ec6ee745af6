with assignments as (

    select * from {{ ref('stg_scoring__assignments') }}

),

predictions as (

    select * from {{ ref('stg_scoring__predictions') }}

),

-- One offer for each assignment to a paying arm: the ledger of what was promised.
final as (

    select
        assignments.assignment_id as offer_id,
        assignments.entity_id,
        assignments.prediction_id,

        assignments.experiment,
        assignments.arm,
        predictions.model_version,

        assignments.offer_amount,
        predictions.score,

        assignments.assigned_at as offered_at

    from assignments
    left join predictions
        on assignments.prediction_id = predictions.prediction_id
    where assignments.offer_amount > 0

)

select * from final
