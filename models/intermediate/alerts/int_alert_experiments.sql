with experiments as (

    select * from {{ ref('dim_experiments') }}
    where holdout_share > 0 and holdout_share < 1

),

statistics as (

    select * from {{ ref('int_experiment_daily') }}

),

days as (

    select
        statistics.experiment,
        statistics.assignment_date,
        experiments.holdout_share,
        sum(statistics.n_assigned) as n_assigned,
        coalesce(
            sum(statistics.n_assigned) filter (where statistics.arm = experiments.control_arm), 0
        ) as n_control
    from statistics
    inner join experiments
        on statistics.experiment = experiments.experiment
    group by statistics.experiment, statistics.assignment_date, experiments.holdout_share

),

totals as (

    select
        experiment,
        assignment_date,
        holdout_share,
        sum(n_assigned) over (
            partition by experiment order by assignment_date rows unbounded preceding
        ) as n_assigned,
        sum(n_control) over (
            partition by experiment order by assignment_date rows unbounded preceding
        ) as n_control
    from days

),

-- Of two arms, the root of chi-square is a normal deviate.
deviates as (

    select
        *,
        (n_control - n_assigned * holdout_share)
        / sqrt(n_assigned * holdout_share * (1 - holdout_share)) as deviate
    from totals

),

tests as (

    select
        *,
        {{ normal_p_value('deviate') }} as p_value
    from deviates

),

final as (

    select
        'sample_ratio' as rule,
        experiment,
        n_control || ' of ' || n_assigned || ' assigned are in the control arm, whose share is '
        || holdout_share || ' by the registry, p '
        || case
            when p_value < 0.000001 then 'below 0.000001'
            else cast(round(cast(p_value as numeric), 6) as text)
        end as finding,
        p_value as value,
        n_assigned as n,
        assignment_date as measured_date
    from tests

)

select * from final
