with windows as (

    select * from {{ ref('int_drift_windows') }}

),

final as (

    select
        case watched_kind when 'answer' then 'score_drift' else 'feature_drift' end as rule,
        task,
        model_version,
        feature,
        'over ' || n_days || ' days the population stability index of ' || feature || ' is '
        || round(cast(population_stability_index as numeric), 3) as finding,
        population_stability_index as value,
        n_recent as n,
        measured_date
    from windows

)

select * from final
