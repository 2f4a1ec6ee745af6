-- Every prediction stands in int_labelled_predictions, whatever became of its label, and nothing
-- else does. A prediction that is missing arrived later than `late_arrival_days` allows: build it
-- with `dbt run --full-refresh --select int_labels+`.
with predictions as (

    select
        prediction_id,
        loaded_at
    from {{ ref('stg_scoring__predictions') }}

),

labelled_predictions as (

    select
        prediction_id,
        loaded_at
    from {{ ref('int_labelled_predictions') }}

),

-- What landed after the model was built is its own next time. Where it is empty, nothing is.
built as (

    select coalesce(max(loaded_at), cast('infinity' as timestamptz)) as newest_loaded_at
    from labelled_predictions

)

select
    coalesce(predictions.prediction_id, labelled_predictions.prediction_id) as prediction_id,
    predictions.prediction_id is null as is_unknown,
    labelled_predictions.prediction_id is null as is_missing
from predictions
full outer join labelled_predictions
    on predictions.prediction_id = labelled_predictions.prediction_id
where
    predictions.prediction_id is null
    or (
        labelled_predictions.prediction_id is null
        and predictions.loaded_at <= (select built.newest_loaded_at from built)
    )
