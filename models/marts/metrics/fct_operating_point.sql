with curve as (

    select * from {{ ref('fct_threshold_curve') }}

),

final as (

    select
        in_force.task,
        in_force.model_version,
        in_force.run_kind,
        in_force.window_name,
        in_force.experiment,

        in_force.threshold_in_force as threshold,
        in_force.precision,
        in_force.true_positive_rate as recall,
        in_force.f1_score,
        in_force.net_per_lead,
        in_force.net_per_lead_lower,
        in_force.net_per_lead_upper,
        in_force.net_unknown_because,

        best_by_f1.threshold as best_threshold_by_f1,
        best_by_f1.f1_score as best_f1_score,
        best_by_net.threshold as best_threshold_by_net,
        best_by_net.net_per_lead as best_net_per_lead,
        best_by_net.net_per_lead_lower as best_net_per_lead_lower,
        best_by_net.net_per_lead_upper as best_net_per_lead_upper,
        best_by_net.net_per_lead - in_force.net_per_lead as net_per_lead_forgone,

        in_force.window_start_date,
        in_force.window_end_date

    from curve as in_force
    left join curve as best_by_f1
        on
            in_force.task = best_by_f1.task
            and in_force.model_version = best_by_f1.model_version
            and in_force.run_kind = best_by_f1.run_kind
            and in_force.window_name = best_by_f1.window_name
            and best_by_f1.is_best_by_f1
    left join curve as best_by_net
        on
            in_force.task = best_by_net.task
            and in_force.model_version = best_by_net.model_version
            and in_force.run_kind = best_by_net.run_kind
            and in_force.window_name = best_by_net.window_name
            and best_by_net.is_best_by_net
    where in_force.is_in_force

)

select * from final
