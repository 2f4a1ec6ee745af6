with importances as (

    select * from {{ ref('stg_scoring__feature_importances') }}

),

final as (

    select
        task,
        model_version,
        feature,

        cast(
            row_number() over (
                partition by task, model_version
                order by mean_importance desc, feature asc
            ) as integer
        ) as importance_rank,
        mean_importance,
        std_importance,
        n_sampled

    from importances

)

select * from final
