-- In which slices is each champion worst, compared with all of its rows? A slice far below the rest
-- asks for a feature that tells its people apart. The backtest is of days that the champion had not
-- seen; slices of fewer than a hundred rows say nothing.
with metrics as (

    select * from {{ ref('fct_classifier_metrics') }}
    where window_name = 'all_time' and run_kind = 'backtest'

),

versions as (

    select * from {{ ref('dim_model_versions') }}
    where status = 'champion'

),

of_champions as (

    select metrics.*
    from metrics
    inner join versions
        on metrics.task = versions.task and metrics.model_version = versions.model_version

)

select
    slices.task,
    slices.model_version,
    slices.slice_name,
    slices.slice_value,
    slices.n_mature,
    slices.base_rate,
    slices.mean_score,
    slices.roc_auc,
    everybody.roc_auc as roc_auc_of_all,
    slices.log_loss,
    slices.log_loss - everybody.log_loss as log_loss_above_all
from of_champions as slices
inner join of_champions as everybody
    on slices.task = everybody.task and everybody.slice_name = 'all'
where slices.slice_name not in ('all', 'arm') and slices.n_mature >= 100
order by
    slices.roc_auc - everybody.roc_auc asc nulls last,
    slices.task asc,
    slices.slice_name asc,
    slices.slice_value asc
