with statistics as (

    select * from {{ ref('int_segmentation_daily') }}

),

final as (

    select
        task,
        model_version,
        run_kind,

        n_predictions,
        n_segments,
        n_sampled,
        silhouette,
        davies_bouldin_index,

        prediction_date

    from statistics

)

select * from final
