-- Which features does a champion rely on that no longer look as they did when it learned? An
-- important feature that has moved is the first suspect when a metric falls; one that nobody relies
-- on may move as it likes. Above 0.2 a feature has moved.
with importances as (

    select * from {{ ref('fct_feature_importances') }}

),

drift as (

    select * from {{ ref('int_drift_windows') }}
    where watched_kind = 'feature' and is_newest

),

versions as (

    select * from {{ ref('dim_model_versions') }}
    where status = 'champion'

)

select
    importances.task,
    importances.model_version,
    importances.importance_rank,
    importances.feature,
    importances.mean_importance,
    drift.population_stability_index,
    drift.n_recent,
    drift.n_days,
    drift.measured_date
from importances
inner join versions
    on importances.task = versions.task and importances.model_version = versions.model_version
inner join drift
    on
        importances.task = drift.task
        and importances.model_version = drift.model_version
        and importances.feature = drift.feature
order by importances.task, importances.importance_rank
