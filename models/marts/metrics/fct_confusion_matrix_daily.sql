with statistics as (

    select * from {{ ref('int_classification_daily') }}

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        n_predictions,
        n_pending,
        n_mature,
        n_true_positives,
        n_false_positives,
        n_true_negatives,
        n_false_negatives,

        prediction_date

    from statistics

)

select * from final
