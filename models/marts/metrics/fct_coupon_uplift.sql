with comparisons as (

    select * from {{ ref('int_experiment_comparisons') }}

),

final as (

    select
        experiment,
        arm,
        control_arm,

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
        conversion_difference,
        conversion_difference_lower,
        conversion_difference_upper,

        relative_lift,
        relative_lift_lower,
        relative_lift_upper,

        revenue_per_entity,
        control_revenue_per_entity,
        revenue_difference,
        revenue_difference_lower,
        revenue_difference_upper,

        incremental_conversions,
        incremental_revenue,
        incremental_revenue_lower,
        incremental_revenue_upper,

        window_start_date as first_assignment_date,
        window_end_date as last_assignment_date

    from comparisons
    where window_name = 'all'

)

select * from final
