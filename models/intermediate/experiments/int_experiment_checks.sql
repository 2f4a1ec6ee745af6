{{ config(materialized='table') }}

with statistics as (

    select * from {{ ref('int_experiment_daily') }}
    where slice_name = 'all'

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

registered_arms as (

    select * from {{ ref('dim_experiment_arms') }}

),

covariates as (

    select * from {{ ref('int_experiment_covariate_totals') }}

),

weeks as (

    select * from {{ ref('int_experiment_comparisons') }}
    where slice_name = 'assignment_week' and metric = 'conversion' and standard_error > 0

),

totals as (

    select
        statistics.experiment,
        statistics.arm,
        statistics.arm = experiments.control_arm as is_control,
        experiments.offered_event is not null as is_offer_known,
        coalesce(experiments.offered_event, experiments.seen_event) is not null
            as is_exposure_known,
        sum(statistics.n_assigned) as n_assigned,
        sum(statistics.n_mature) as n_mature,
        sum(statistics.n_exposed_before) as n_exposed_before,
        sum(statistics.n_offered) as n_offered
    from statistics
    inner join experiments
        on statistics.experiment = experiments.experiment
    group by
        statistics.experiment,
        statistics.arm,
        experiments.control_arm,
        experiments.offered_event,
        experiments.seen_event

),

-- Are the arms as large as they were meant to be? ------------------------------------------------

expected as (

    select
        registered_arms.experiment,
        registered_arms.arm,
        coalesce(totals.n_assigned, 0) as n_assigned,
        registered_arms.share * sum(totals.n_assigned) over (
            partition by registered_arms.experiment
        ) as n_expected
    from registered_arms
    left join totals
        on
            registered_arms.experiment = totals.experiment
            and registered_arms.arm = totals.arm
    where registered_arms.share > 0

),

chi_squares as (

    select
        experiment,
        {{ stable_sum('power(n_assigned - n_expected, 2) / nullif(n_expected, 0)') }} as chi_square,
        count(*) - 1 as degrees_of_freedom
    from expected
    group by experiment

),

sample_ratio_tests as (

    select
        *,
        {{ chi_square_p_value('chi_square', 'degrees_of_freedom') }} as p_value
    from chi_squares

),

sample_ratios as (

    select
        experiment,
        cast(null as text) as arm,
        'sample_ratio' as check_name,
        cast(null as text) as subject,
        p_value as value,
        0.001 as threshold,
        p_value >= 0.001 as is_passed,
        'arms are drawn as unevenly as this by chance alone with probability '
        || {{ probability_text('p_value') }} as finding
    from sample_ratio_tests
    where p_value is not null

),

unregistered as (

    select
        totals.experiment,
        cast(null as text) as arm,
        'registered_arms' as check_name,
        sum(totals.n_assigned) filter (where registered_arms.arm is null) as n_unregistered,
        sum(totals.n_assigned) as n_assigned
    from totals
    left join registered_arms
        on
            totals.experiment = registered_arms.experiment
            and totals.arm = registered_arms.arm
            and registered_arms.share > 0
    group by totals.experiment

),

-- Shares of people to whom something happened that should not have -------------------------------

persons as (

    select
        assignments.experiment,
        assignments.person_id,
        count(distinct assignments.arm) as n_arms
    from {{ ref('int_labelled_assignments') }} as assignments
    inner join experiments
        on assignments.experiment = experiments.experiment
    -- A user has one assignment by the contract of the table; a person may have many visits.
    where
        experiments.entity = 'session'
        and assignments.label_status != 'undefined'
        and assignments.person_id is not null
    group by assignments.experiment, assignments.person_id

),

counts as (

    select
        experiment,
        arm,
        check_name,
        coalesce(n_unregistered, 0) as n_bad,
        n_assigned as n,
        'were assigned to an arm that the registry gives no share' as finding
    from unregistered

    union all

    select
        experiment,
        arm,
        'assigned_before_exposure' as check_name,
        n_exposed_before as n_bad,
        n_assigned as n,
        'had been offered or shown a coupon before they were assigned' as finding
    from totals
    where is_exposure_known

    union all

    select
        experiment,
        arm,
        'control_kept_clean' as check_name,
        n_offered as n_bad,
        n_mature as n,
        'of the control arm were offered a coupon' as finding
    from totals
    where is_control and is_offer_known

    union all

    select
        experiment,
        cast(null as text) as arm,
        'one_arm_a_person' as check_name,
        count(*) filter (where n_arms > 1) as n_bad,
        count(*) as n,
        'people have visits in several arms' as finding
    from persons
    group by experiment

),

shares as (

    select
        experiment,
        arm,
        check_name,
        cast(null as text) as subject,
        {{ ratio('n_bad', 'n') }} as value,
        0.01 as threshold,
        {{ ratio('n_bad', 'n') }} <= 0.01 as is_passed,
        cast(n_bad as text) || ' of ' || cast(n as text) || ' ' || finding as finding
    from counts
    where n > 0

),

-- Were the arms alike beforehand? ----------------------------------------------------------------

covariate_means as (

    select
        covariates.experiment,
        covariates.arm,
        covariates.covariate,
        covariates.arm = experiments.control_arm as is_control,
        covariates.n_mature as n,
        {{ ratio('covariates.sum_covariate', 'covariates.n_mature') }} as mean,
        {{ sample_covariance(
            'covariates.n_mature', 'covariates.sum_covariate', 'covariates.sum_covariate',
            'covariates.sum_squared_covariate'
        ) }} as variance
    from covariates
    inner join experiments
        on covariates.experiment = experiments.experiment

),

imbalances as (

    select
        treated.experiment,
        treated.arm,
        treated.covariate,
        (treated.mean - control.mean) / nullif(sqrt((treated.variance + control.variance) / 2), 0)
            as standardised_difference,
        {{ normal_p_value(
            '(treated.mean - control.mean)'
            ~ ' / nullif(sqrt(treated.variance / treated.n + control.variance / control.n), 0)'
        ) }} as p_value
    from covariate_means as treated
    inner join covariate_means as control
        on
            treated.experiment = control.experiment
            and treated.covariate = control.covariate
            and control.is_control
            and not treated.is_control
    where treated.n > 1 and control.n > 1

),

-- A tenth of a standard deviation is the customary mark; few people miss it by chance.
balances as (

    select
        experiment,
        arm,
        'covariate_balance' as check_name,
        covariate as subject,
        standardised_difference as value,
        0.1 as threshold,
        abs(standardised_difference) <= 0.1 or p_value >= 0.001 as is_passed,
        covariate || ' lies ' || {{ decimal_text('standardised_difference', 3) }}
        || ' standard deviations off the control arm, p ' || {{ probability_text('p_value') }}
            as finding
    from imbalances
    where standardised_difference is not null

),

-- Does the effect of the first week last? --------------------------------------------------------

numbered_weeks as (

    select
        *,
        row_number() over (partition by experiment, arm order by slice_value) as week_number
    from weeks

),

-- Later weeks count as much as they know.
novelties as (

    select
        experiment,
        arm,
        max(difference) filter (where week_number = 1) as first_difference,
        max(power(standard_error, 2)) filter (where week_number = 1) as first_variance,
        {{ stable_sum(
            'case when week_number > 1 then difference / power(standard_error, 2) end'
        ) }} / {{ stable_sum('case when week_number > 1 then 1 / power(standard_error, 2) end') }}
            as later_difference,
        1 / {{ stable_sum('case when week_number > 1 then 1 / power(standard_error, 2) end') }}
            as later_variance
    from numbered_weeks
    group by experiment, arm

),

novelty_tests as (

    select
        *,
        {{ normal_p_value(
            '(first_difference - later_difference) / sqrt(first_variance + later_variance)'
        ) }} as p_value
    from novelties
    where later_variance is not null

),

novelty_checks as (

    select
        experiment,
        arm,
        'novelty' as check_name,
        cast(null as text) as subject,
        p_value as value,
        0.001 as threshold,
        p_value >= 0.001 as is_passed,
        'the effect on conversion was ' || {{ decimal_text('first_difference', 4) }}
        || ' in the first week and ' || {{ decimal_text('later_difference', 4) }}
        || ' since, p ' || {{ probability_text('p_value') }} as finding
    from novelty_tests

),

checks as (

    select * from sample_ratios
    union all
    select * from shares
    union all
    select * from balances
    union all
    select * from novelty_checks

),

final as (

    select
        {{ dbt_utils.generate_surrogate_key(['experiment', 'check_name', 'arm', 'subject']) }}
            as check_id,
        experiment,
        arm,
        check_name,
        subject,
        finding,
        value,
        cast(threshold as double precision) as threshold,
        is_passed
    from checks

)

select * from final
