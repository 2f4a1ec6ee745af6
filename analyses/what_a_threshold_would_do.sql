-- What would each threshold catch, and what would it let pass? For each champion, at every tenth,
-- on days that it had not seen: how many would be called positive, how many of them rightly, and
-- how many of all positives that is. The curve has a row wherever there are scores; between two of
-- them nothing changes, so the first at or above a tenth holds.
with curve as (

    select * from {{ ref('fct_threshold_curve') }}
    where window_name = 'all_time' and run_kind = 'backtest'

),

versions as (

    select * from {{ ref('dim_model_versions') }}
    where status = 'champion'

),

tenths as (

    select tenth / 10.0 as threshold
    from generate_series(1, 9) as v (tenth)

)

select distinct on (curve.task, tenths.threshold)
    curve.task,
    curve.model_version,
    tenths.threshold,
    curve.n_true_positives + curve.n_false_positives as n_called_positive,
    curve.n_true_positives as n_rightly,
    curve.precision,
    curve.true_positive_rate as recall,
    curve.threshold_in_force
from curve
inner join versions
    on curve.task = versions.task and curve.model_version = versions.model_version
inner join tenths
    on curve.threshold >= tenths.threshold
order by curve.task asc, tenths.threshold asc, curve.threshold asc
