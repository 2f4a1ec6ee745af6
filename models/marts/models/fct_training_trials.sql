with trials as (

    select * from {{ ref('stg_scoring__training_trials') }}

),

final as (

    select
        task,
        model_version,
        algorithm,
        parameters,

        trial,
        mean_score,
        std_score,
        fit_seconds,
        trial = first_value(trial) over (
            partition by task, model_version
            order by mean_score desc, trial asc
        ) as is_winner

    from trials

)

select * from final
