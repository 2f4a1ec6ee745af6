with statistics as (

    select * from {{ ref('int_experiment_daily') }}
    where slice_name = 'all'

),

arms as (

    select * from {{ ref('dim_experiment_arms') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

-- What no event tells of is not known to be 0.
totals as (

    select
        statistics.experiment,
        statistics.arm,
        cast(sum(statistics.n_assigned) as bigint) as n_assigned,
        cast(sum(statistics.n_pending) as bigint) as n_pending,
        cast(sum(statistics.n_mature) as bigint) as n_mature,
        cast(sum(statistics.n_converted) as bigint) as n_converted,
        cast(
            sum(statistics.n_offered) filter (where experiments.offered_event is not null)
            as bigint
        ) as n_offered,
        cast(sum(statistics.n_seen) filter (where experiments.seen_event is not null) as bigint)
            as n_seen,
        cast(sum(statistics.n_redeemed) as bigint) as n_redeemed,
        cast(sum(statistics.n_offered_converted) as bigint) as n_offered_converted
    from statistics
    inner join experiments
        on statistics.experiment = experiments.experiment
    group by statistics.experiment, statistics.arm

),

rates as (

    select
        totals.*,
        arms.is_control,
        {{ ratio('totals.n_converted', 'totals.n_mature') }} as conversion_rate,
        {{ ratio('totals.n_offered', 'totals.n_mature') }} as offered_rate,
        {{ ratio('totals.n_seen', 'totals.n_mature') }} as seen_rate,
        {{ ratio('totals.n_redeemed', 'totals.n_mature') }} as redeemed_rate,
        {{ ratio('totals.n_offered_converted', 'totals.n_mature') }} as offered_and_converted_rate
    from totals
    inner join arms
        on totals.experiment = arms.experiment and totals.arm = arms.arm

),

-- Wald: what being assigned did to the outcome, over what it did to getting the offer.
effects as (

    select
        rates.*,
        rates.offered_rate - control.offered_rate as offered_difference,
        {{ ratio(
            '(rates.conversion_rate - control.conversion_rate)',
            '(rates.offered_rate - control.offered_rate)'
        ) }} as effect,
        control.conversion_rate as control_conversion_rate,
        control.offered_rate as control_offered_rate,
        control.n_mature as control_n_mature,
        control.offered_and_converted_rate as control_offered_and_converted_rate
    from rates
    left join rates as control
        on rates.experiment = control.experiment and control.is_control and not rates.is_control

),

-- The variance, by the delta method, is that of outcome less effect times offer in each arm.
margins as (

    select
        *,
        {{ normal_quantile('0.975') }} * sqrt(greatest(
            0,
            {% for arm in ['', 'control_'] %}
            {% set y, d = arm ~ 'conversion_rate', arm ~ 'offered_rate' %}
            (
                {{ y }} * (1 - {{ y }}) + power(effect, 2) * {{ d }} * (1 - {{ d }})
                - 2 * effect * ({{ arm }}offered_and_converted_rate - {{ y }} * {{ d }})
            ) / nullif({{ arm }}n_mature, 0){{ " +" if not loop.last }}
            {% endfor %}
        )) / nullif(abs(offered_difference), 0) as effect_margin
    from effects

),

final as (

    select
        experiment,
        arm,
        case
            when is_control then 'the control arm is what others are compared with'
            when control_n_mature is null or control_n_mature = 0 or n_mature = 0
                then 'an arm has no lead with a known outcome'
            when offered_difference is null then 'no event tells who got the offer'
            when offered_difference <= 0
                then 'no more of the arm than of the control arm got the offer'
        end as effect_unknown_because,

        is_control,

        n_assigned,
        n_pending,
        n_mature,
        n_offered,
        n_seen,
        n_redeemed,
        case when is_control then n_offered else 0 end as n_contaminated,

        offered_rate,
        seen_rate,
        redeemed_rate,
        case when offered_difference > 0 then effect end as effect_on_offered,
        case when offered_difference > 0 then effect - effect_margin end
            as effect_on_offered_lower,
        case when offered_difference > 0 then effect + effect_margin end
            as effect_on_offered_upper

    from margins

)

select * from final
