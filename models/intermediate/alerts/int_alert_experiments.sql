with arms as (

    select * from {{ ref('dim_experiment_arms') }}
    where share > 0

),

statistics as (

    select * from {{ ref('int_experiment_daily') }}
    where slice_name = 'all'

),

days as (

    select distinct
        experiment,
        assignment_date
    from statistics

),

-- An arm that nobody came into on a day has a total all the same.
totals as (

    select
        days.experiment,
        days.assignment_date,
        arms.arm,
        arms.share,
        coalesce(sum(statistics.n_assigned) over (
            partition by days.experiment, arms.arm
            order by days.assignment_date
        ), 0) as n_assigned
    from days
    inner join arms
        on days.experiment = arms.experiment
    left join statistics
        on
            days.experiment = statistics.experiment
            and days.assignment_date = statistics.assignment_date
            and arms.arm = statistics.arm

),

expectations as (

    select
        *,
        share * sum(n_assigned) over (partition by experiment, assignment_date) as n_expected
    from totals

),

chi_squares as (

    select
        experiment,
        assignment_date,
        sum(n_assigned) as n_assigned,
        {{ dbt.listagg(
            "cast(n_assigned as text) || ' in ' || arm || ', which has a share of '"
            ~ ' || ' ~ decimal_text('share', 3),
            "', '",
            'order by arm'
        ) }} as counts,
        {{ stable_sum('power(n_assigned - n_expected, 2) / nullif(n_expected, 0)') }} as chi_square,
        count(*) - 1 as degrees_of_freedom
    from expectations
    group by experiment, assignment_date

),

tests as (

    select
        *,
        {{ chi_square_p_value('chi_square', 'degrees_of_freedom') }} as p_value
    from chi_squares

),

final as (

    select
        'sample_ratio' as rule,
        experiment,
        'of ' || cast(n_assigned as text) || ' assigned there are ' || counts || ', p '
        || {{ probability_text('p_value') }} as finding,
        p_value as value,
        n_assigned as n,
        assignment_date as measured_date
    from tests
    where p_value is not null

)

select * from final
