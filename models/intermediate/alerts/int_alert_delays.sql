with versions as (

    select * from {{ ref('int_watched_versions') }}
    where status = 'champion'

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

statistics as (

    select * from {{ ref('int_label_maturity_daily') }}

),

feature_rows as (

    select * from {{ ref('int_feature_rows') }}

),

champions as (

    select
        versions.task,
        versions.model_version,
        tasks.features_model,
        -- The job scores what is later than all that the model has seen.
        greatest(versions.judged_through, max(statistics.last_as_of_at)) as scored_through,
        greatest(versions.trained_at, max(statistics.last_predicted_at)) as active_at
    from versions
    inner join tasks
        on versions.task = tasks.task
    left join statistics
        on
            versions.task = statistics.task
            and versions.model_version = statistics.model_version
            and statistics.run_kind = 'live'
    group by
        versions.task,
        versions.model_version,
        versions.judged_through,
        versions.trained_at,
        tasks.features_model

),

waiting as (

    select
        champions.task,
        champions.model_version,
        champions.active_at,
        count(*) as n_waiting
    from champions
    inner join feature_rows
        on
            champions.features_model = feature_rows.features_model
            and feature_rows.as_of_at
            > coalesce(champions.scored_through, cast('-infinity' as timestamptz))
    group by champions.task, champions.model_version, champions.active_at

),

overdue as (

    select
        task,
        sum(n_pending) as n_pending,
        min(first_pending_horizon_ends_at) as horizon_ends_at
    from statistics
    where first_pending_horizon_ends_at < {{ as_of() }}
    group by task

),

final as (

    select
        'stale_scoring' as rule,
        task,
        model_version,
        n_waiting || ' feature rows wait for a score, and the newest is '
        || round(cast({{ seconds_between('active_at', as_of()) }} / 3600 as numeric), 1)
        || ' hours old' as finding,
        {{ seconds_between('active_at', as_of()) }} / 3600 as value,
        n_waiting as n,
        {{ reporting_date('active_at') }} as measured_date
    from waiting

    union all

    select
        'overdue_labels' as rule,
        task,
        cast(null as text) as model_version,
        'labels are pending though their horizon has passed, the oldest for '
        || round(cast({{ seconds_between('horizon_ends_at', as_of()) }} / 3600 as numeric), 1)
        || ' hours' as finding,
        {{ seconds_between('horizon_ends_at', as_of()) }} / 3600 as value,
        n_pending as n,
        {{ reporting_date('horizon_ends_at') }} as measured_date
    from overdue

)

select * from final
