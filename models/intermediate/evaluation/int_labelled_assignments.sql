with assignments as (

    select * from {{ ref('stg_scoring__assignments') }}

),

labels as (

    select * from {{ ref('int_labels') }}

),

predictions as (

    select * from {{ ref('int_labelled_predictions') }}

),

final as (

    select
        assignments.assignment_id,
        assignments.entity_id,
        assignments.prediction_id,

        assignments.experiment,
        assignments.arm,
        coalesce(labels.label_status, 'undefined') as label_status,

        assignments.offer_amount,
        predictions.score,
        labels.n_outcomes,
        labels.outcome_amount,

        assignments.assignment_date,
        assignments.assigned_at,
        assignments.loaded_at,
        -- Both the outcome and the score may come late.
        greatest(labels.change_number, predictions.change_number) as change_number

    from assignments
    left join labels
        on
            assignments.experiment = labels.label_name
            and assignments.entity_id = labels.entity_id
            and assignments.assigned_at = labels.as_of_at
    left join predictions
        on assignments.prediction_id = predictions.prediction_id

)

select * from final
