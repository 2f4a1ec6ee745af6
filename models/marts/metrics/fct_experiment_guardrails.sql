with statistics as (

    select * from {{ ref('int_experiment_guardrails_daily') }}

),

guardrails as (

    select
        experiments.experiment,
        entries.key as event_type,
        entries.value #>> '{}' as harm
    from {{ ref('dim_experiments') }} as experiments
    cross join lateral {{ json_entries('experiments.guardrails') }} as entries (key, value)

),

arms as (

    select * from {{ ref('dim_experiment_arms') }}

),

totals as (

    select
        guardrails.experiment,
        arms.arm,
        arms.is_control,
        guardrails.event_type,
        guardrails.harm,
        cast(sum(statistics.n_mature) as bigint) as n_mature,
        cast(sum(statistics.n_with_event) as bigint) as n_with_event
    from statistics
    inner join guardrails
        on
            statistics.experiment = guardrails.experiment
            and statistics.event_type = guardrails.event_type
    inner join arms
        on statistics.experiment = arms.experiment and statistics.arm = arms.arm
    group by
        guardrails.experiment, arms.arm, arms.is_control, guardrails.event_type, guardrails.harm

),

pairs as (

    select
        treated.experiment,
        treated.arm,
        control.arm as control_arm,
        treated.event_type,
        treated.harm,
        treated.n_mature,
        treated.n_with_event,
        coalesce(control.n_mature, 0) as control_n_mature,
        coalesce(control.n_with_event, 0) as control_n_with_event,
        {{ ratio('treated.n_with_event', 'treated.n_mature') }} as event_rate,
        {{ ratio('control.n_with_event', 'control.n_mature') }} as control_event_rate
    from totals as treated
    left join totals as control
        on
            treated.experiment = control.experiment
            and treated.event_type = control.event_type
            and control.is_control
    where not treated.is_control

),

intervals as (

    select
        *,
        event_rate - control_event_rate as difference,
        {{ newcombe_bound(
            'n_with_event', 'n_mature', 'control_n_with_event', 'control_n_mature', 'lower'
        ) }} as difference_lower,
        {{ newcombe_bound(
            'n_with_event', 'n_mature', 'control_n_with_event', 'control_n_mature', 'upper'
        ) }} as difference_upper
    from pairs

),

final as (

    select
        experiment,
        arm,
        control_arm,
        event_type,
        harm,

        n_mature,
        n_with_event,
        control_n_mature,
        control_n_with_event,

        event_rate,
        control_event_rate,
        difference,
        difference_lower,
        difference_upper,

        -- NULL where nobody can tell.
        case harm when 'rise' then difference_lower > 0 else difference_upper < 0 end as is_harmed

    from intervals

)

select * from final
