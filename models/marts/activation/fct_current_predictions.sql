with predictions as (

    select * from {{ ref('stg_scoring__predictions') }}
    where run_kind = 'live'

),

models as (

    select * from {{ ref('stg_scoring__models') }}

),

-- Challengers are scored in the shadow; nobody acts on them.
ranked as (

    select
        predictions.*,
        row_number() over (
            partition by predictions.task, predictions.entity_id
            order by
                predictions.as_of_at desc,
                case when models.status = 'champion' then 0 else 1 end asc,
                predictions.predicted_at desc,
                predictions.prediction_id asc
        ) as recency
    from predictions
    left join models
        on
            predictions.task = models.task
            and predictions.model_version = models.model_version
    where models.status is distinct from 'challenger'

),

final as (

    select
        prediction_id,
        entity_id,

        task,
        model_version,

        score,
        predicted_value,
        segment,
        threshold,

        score >= threshold as is_predicted_positive,

        as_of_at,
        predicted_at

    from ranked
    where recency = 1

)

select * from final
