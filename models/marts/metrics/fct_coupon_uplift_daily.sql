with comparisons as (

    select * from {{ ref('int_experiment_comparisons') }}

),

final as (

    select
        experiment,
        arm,
        control_arm,
        slice_name,
        slice_value,
        window_name,
        metric,

        n_assigned,
        n_pending,
        n_mature,
        control_n_assigned,
        control_n_pending,
        control_n_mature,

        mean,
        control_mean,
        difference,
        standard_error,
        difference_lower,
        difference_upper,
        p_value,
        pooled_z,

        relative_lift,
        relative_lift_lower,
        relative_lift_upper,

        always_valid_lower,
        always_valid_upper,
        always_valid_p_value,

        window_end_date as assignment_date

    from comparisons
    where window_name in ('day', 'to_date')

)

select * from final
