with statistics as (

    select * from {{ ref('int_experiment_daily') }}

),

windows as (

    select
        *,
        'day' as window_name,
        assignment_date as window_start_date
    from statistics

    union all

    select
        *,
        'all' as window_name,
        min(assignment_date) over (partition by experiment) as window_start_date
    from statistics

),

totals as (

    select
        experiment,
        arm,
        window_name,

        cast(sum(n_assigned) as bigint) as n_assigned,
        cast(sum(n_pending) as bigint) as n_pending,
        cast(sum(n_mature) as bigint) as n_mature,
        cast(sum(n_converted) as bigint) as n_converted,
        sum(sum_offered) as sum_offered,
        sum(sum_revenue) as sum_revenue,
        sum(sum_squared_revenue) as sum_squared_revenue,

        window_start_date,
        max(assignment_date) as window_end_date

    from windows
    group by experiment, arm, window_name, window_start_date

),

-- Rates, means and sample variances of each arm; NULL where there is nothing to divide by.
final as (

    select
        *,
        {{ ratio('n_converted', 'n_mature') }} as conversion_rate,
        {{ wilson_bound('n_converted', 'n_mature', 'lower') }} as conversion_rate_lower,
        {{ wilson_bound('n_converted', 'n_mature', 'upper') }} as conversion_rate_upper,
        {{ ratio('sum_revenue', 'n_mature') }} as revenue_per_entity,
        {{ ratio(
            '(sum_squared_revenue - sum_revenue * sum_revenue / nullif(n_mature, 0))',
            '(n_mature - 1)'
        ) }} as revenue_variance
    from totals

)

select * from final
