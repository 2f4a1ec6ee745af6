with comparisons as (

    select * from {{ ref('int_experiment_comparisons') }}
    where window_name = 'all'

),

checks as (

    select * from {{ ref('int_experiment_checks') }}
    where not is_passed

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

-- What failed for the experiment as a whole fails for each of its arms.
failures as (

    select
        comparisons.experiment,
        comparisons.arm,
        {{ dbt.listagg('distinct checks.finding', "'; '", 'order by checks.finding') }} as findings
    from comparisons
    inner join checks
        on
            comparisons.experiment = checks.experiment
            and (checks.arm is null or checks.arm in (comparisons.arm, comparisons.control_arm))
    group by comparisons.experiment, comparisons.arm

),

-- Slices are many questions of one kind; what is asked together is corrected together.
ranked as (

    select
        *,
        row_number() over (
            partition by experiment, metric, slice_name
            order by p_value, arm, slice_value
        ) as p_value_rank,
        count(p_value) over (partition by experiment, metric, slice_name) as n_p_values
    from comparisons

),

adjusted as (

    select
        *,
        {{ holm_p_value(
            'p_value', 'p_value_rank', 'n_p_values', 'experiment, metric, slice_name'
        ) }} as p_value_holm,
        {{ benjamini_hochberg_p_value(
            'p_value', 'p_value_rank', 'n_p_values', 'experiment, metric, slice_name'
        ) }} as p_value_bh
    from ranked

),

-- The money decides, by the interval that may be looked at every day. It is one of large numbers:
-- of a handful of leads it says nothing.
money as (

    select
        comparisons.experiment,
        comparisons.arm,
        comparisons.slice_name,
        comparisons.slice_value,
        least(comparisons.n_mature, comparisons.control_n_mature) >= 100 as are_many,
        comparisons.always_valid_lower,
        comparisons.always_valid_upper,
        experiments.minimum_effect,
        experiments.ends_at <= {{ as_of() }}
        and comparisons.n_pending + comparisons.control_n_pending = 0 as is_over
    from comparisons
    inner join experiments
        on comparisons.experiment = experiments.experiment
    where comparisons.metric = 'net_money'

),

bounds as (

    select
        *,
        case when are_many then always_valid_lower end as lower,
        case when are_many then always_valid_upper end as upper
    from money

),

decisions as (

    select
        *,
        case
            when upper < 0 then 'coupon hurts'
            when upper < minimum_effect then 'futile'
            when lower > 0 then 'coupon works'
            when is_over then 'futile'
            else 'keep waiting'
        end as decision,
        case
            when lower > 0 or upper < minimum_effect
                then
                    'net money per lead lies between ' || {{ decimal_text('lower') }} || ' and '
                    || {{ decimal_text('upper') }} || ', whenever one looks'
                    || case
                        when upper between 0 and minimum_effect
                            then
                                ', and is not worth the bother below '
                                || {{ decimal_text('minimum_effect') }}
                        else ''
                    end
            else
                case when is_over then 'the experiment has ended undecided: ' else '' end
                || case
                    when not are_many
                        then 'an arm has fewer than 100 leads with a known outcome'
                    when lower is null then 'all known outcomes are the same so far'
                    else
                        'net money per lead may still be anything between '
                        || {{ decimal_text('lower') }} || ' and ' || {{ decimal_text('upper') }}
                end
        end as decision_reason
    from bounds

),

final as (

    select
        adjusted.experiment,
        adjusted.arm,
        adjusted.control_arm,
        adjusted.slice_name,
        adjusted.slice_value,
        adjusted.metric,
        decisions.decision,
        decisions.decision_reason,
        failures.findings as untrustworthy_because,

        adjusted.n_assigned,
        adjusted.n_pending,
        adjusted.n_mature,
        adjusted.control_n_assigned,
        adjusted.control_n_pending,
        adjusted.control_n_mature,

        adjusted.mean,
        adjusted.control_mean,
        adjusted.difference,
        adjusted.standard_error,
        adjusted.difference_lower,
        adjusted.difference_upper,
        adjusted.p_value,
        adjusted.p_value_holm,
        adjusted.p_value_bh,
        adjusted.pooled_z,

        adjusted.relative_lift,
        adjusted.relative_lift_lower,
        adjusted.relative_lift_upper,

        adjusted.always_valid_lower,
        adjusted.always_valid_upper,
        adjusted.always_valid_p_value,

        failures.findings is null as is_trustworthy,

        adjusted.window_start_date as first_assignment_date,
        adjusted.window_end_date as last_assignment_date

    from adjusted
    inner join decisions
        on
            adjusted.experiment = decisions.experiment
            and adjusted.arm = decisions.arm
            and adjusted.slice_name = decisions.slice_name
            and adjusted.slice_value = decisions.slice_value
    left join failures
        on adjusted.experiment = failures.experiment and adjusted.arm = failures.arm

)

select * from final
