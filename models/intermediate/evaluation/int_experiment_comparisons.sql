with arms as (

    select * from {{ ref('int_experiment_windows') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

pairs as (

    select
        treated.experiment,
        treated.arm,
        experiments.control_arm,
        treated.window_name,
        treated.window_start_date,
        treated.window_end_date,

        treated.n_assigned,
        treated.n_pending,
        treated.n_mature,
        treated.n_converted,
        treated.sum_offered,
        treated.sum_revenue,
        treated.conversion_rate,
        treated.revenue_per_entity,

        coalesce(control.n_assigned, 0) as control_n_assigned,
        coalesce(control.n_pending, 0) as control_n_pending,
        coalesce(control.n_mature, 0) as control_n_mature,
        coalesce(control.n_converted, 0) as control_n_converted,
        coalesce(control.sum_revenue, 0) as control_sum_revenue,
        control.conversion_rate as control_conversion_rate,
        control.revenue_per_entity as control_revenue_per_entity,

        -- Variances of the two rates.
        {{ ratio(
            'treated.conversion_rate * (1 - treated.conversion_rate)', 'treated.n_mature'
        ) }} as treated_rate_variance,
        {{ ratio(
            'control.conversion_rate * (1 - control.conversion_rate)', 'control.n_mature'
        ) }} as control_rate_variance,

        -- Variances of the two mean revenues.
        {{ ratio('treated.revenue_variance', 'treated.n_mature') }} as treated_revenue_variance,
        {{ ratio('control.revenue_variance', 'control.n_mature') }} as control_revenue_variance

    from arms as treated
    -- An arm without a control in its window keeps its row; what compares them is NULL.
    left join experiments
        on treated.experiment = experiments.experiment
    left join arms as control
        on
            experiments.experiment = control.experiment
            and experiments.control_arm = control.arm
            and treated.window_name = control.window_name
            and treated.window_start_date = control.window_start_date
    where treated.arm is distinct from experiments.control_arm

),

margins as (

    select
        *,
        {{ student_t_quantile('0.975', welch_degrees_of_freedom(
            'treated_rate_variance', 'n_mature', 'control_rate_variance', 'control_n_mature'
        )) }} * sqrt({{ ratio_variance(
            'conversion_rate', 'treated_rate_variance',
            'control_conversion_rate', 'control_rate_variance'
        ) }}) as lift_margin,
        {{ student_t_quantile('0.975', welch_degrees_of_freedom(
            'treated_revenue_variance', 'n_mature',
            'control_revenue_variance', 'control_n_mature'
        )) }} * sqrt(treated_revenue_variance + control_revenue_variance) as revenue_margin
    from pairs

),

final as (

    select
        experiment,
        arm,
        control_arm,
        window_name,

        n_assigned,
        n_pending,
        n_mature,
        n_converted,
        control_n_assigned,
        control_n_pending,
        control_n_mature,
        control_n_converted,
        sum_offered,
        sum_revenue,
        control_sum_revenue,

        conversion_rate,
        control_conversion_rate,
        conversion_rate - control_conversion_rate as conversion_difference,
        {{ newcombe_bound(
            'n_converted', 'n_mature', 'control_n_converted', 'control_n_mature', 'lower'
        ) }} as conversion_difference_lower,
        {{ newcombe_bound(
            'n_converted', 'n_mature', 'control_n_converted', 'control_n_mature', 'upper'
        ) }} as conversion_difference_upper,

        {{ ratio('(conversion_rate - control_conversion_rate)', 'control_conversion_rate') }}
            as relative_lift,
        {{ ratio('(conversion_rate - control_conversion_rate)', 'control_conversion_rate') }}
        - lift_margin as relative_lift_lower,
        {{ ratio('(conversion_rate - control_conversion_rate)', 'control_conversion_rate') }}
        + lift_margin as relative_lift_upper,

        revenue_per_entity,
        control_revenue_per_entity,
        revenue_per_entity - control_revenue_per_entity as revenue_difference,
        revenue_per_entity - control_revenue_per_entity - revenue_margin
            as revenue_difference_lower,
        revenue_per_entity - control_revenue_per_entity + revenue_margin
            as revenue_difference_upper,

        n_mature * (conversion_rate - control_conversion_rate) as incremental_conversions,
        n_mature * (revenue_per_entity - control_revenue_per_entity) as incremental_revenue,
        n_mature * (revenue_per_entity - control_revenue_per_entity - revenue_margin)
            as incremental_revenue_lower,
        n_mature * (revenue_per_entity - control_revenue_per_entity + revenue_margin)
            as incremental_revenue_upper,

        window_start_date,
        window_end_date

    from margins

)

select * from final
