{{ config(materialized='table', post_hook='analyze {{ this }}') }}

{%- set key = [
    'slice_name', 'slice_value', 'window_name', 'window_start_date', 'window_end_date',
] -%}
with windows as (

    select * from {{ ref('int_experiment_windows') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

arms as (

    select
        windows.experiment,
        windows.arm,
        experiments.control_arm,
        {% for name in key %}
        windows.{{ name }},
        {% endfor %}
        metrics.metric,
        windows.n_assigned,
        windows.n_pending,
        windows.n_mature,
        metrics.total,
        {{ ratio('metrics.total', 'windows.n_mature') }} as mean,
        case
            when metrics.metric = 'conversion'
                then {{ ratio(
                    'metrics.total * (windows.n_mature - metrics.total)',
                    '(windows.n_mature * windows.n_mature)'
                ) }}
            else {{ sample_covariance(
                'windows.n_mature', 'metrics.total', 'metrics.total', 'metrics.total_of_squares'
            ) }}
        end / nullif(windows.n_mature, 0) as variance_of_mean
    from windows
    inner join experiments
        on windows.experiment = experiments.experiment
    cross join
        lateral {{ outcome_metrics('windows', 'experiments.margin') }} as metrics

),

-- An arm without a control in its window keeps its row; what compares them is NULL.
pairs as (

    select
        treated.experiment,
        treated.arm,
        treated.control_arm,
        {% for name in key %}
        treated.{{ name }},
        {% endfor %}
        treated.metric,

        treated.n_assigned,
        treated.n_pending,
        treated.n_mature,
        treated.total,
        treated.mean,
        treated.variance_of_mean,

        coalesce(control.n_assigned, 0) as control_n_assigned,
        coalesce(control.n_pending, 0) as control_n_pending,
        coalesce(control.n_mature, 0) as control_n_mature,
        coalesce(control.total, 0) as control_total,
        control.mean as control_mean,
        control.variance_of_mean as control_variance_of_mean,

        treated.mean - control.mean as difference,
        treated.variance_of_mean + control.variance_of_mean as variance_of_difference,
        {{ welch_degrees_of_freedom(
            'treated.variance_of_mean', 'treated.n_mature',
            'control.variance_of_mean', 'control.n_mature'
        ) }} as degrees_of_freedom
    from arms as treated
    left join arms as control
        on
            treated.experiment = control.experiment
            and treated.control_arm = control.arm
            and treated.metric = control.metric
            {% for name in key %}
            and treated.{{ name }} = control.{{ name }}
            {% endfor %}
    where treated.arm != treated.control_arm

),

-- By itself: pulled up, a quantile would be computed in every place that it is used.
margins as (

    select
        pairs.*,
        computed.*
    from pairs
    cross join
        lateral (
            select
                {{ student_t_quantile('0.975', 'pairs.degrees_of_freedom') }} as t_quantile,
                {{ ratio_variance(
                    'pairs.mean', 'pairs.variance_of_mean',
                    'pairs.control_mean', 'pairs.control_variance_of_mean'
                ) }} as variance_of_lift,
                {{ confidence_sequence_margin(
                    'pairs.variance_of_difference', '(pairs.n_mature + pairs.control_n_mature)'
                ) }} as always_valid_margin
            limit 1 -- noqa: AM09
        ) as computed

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
        total,
        control_total,

        mean,
        control_mean,
        difference,
        sqrt(variance_of_difference) as standard_error,
        -- Rates have Newcombe's interval, from two Wilson intervals; sums of money have Welch's.
        case
            when metric = 'conversion' then {{ newcombe_bound(
                'total', 'n_mature', 'control_total', 'control_n_mature', 'lower'
            ) }}
            else difference - t_quantile * sqrt(variance_of_difference)
        end as difference_lower,
        case
            when metric = 'conversion' then {{ newcombe_bound(
                'total', 'n_mature', 'control_total', 'control_n_mature', 'upper'
            ) }}
            else difference + t_quantile * sqrt(variance_of_difference)
        end as difference_upper,
        {{ student_t_p_value(
            'difference / nullif(sqrt(variance_of_difference), 0)', 'degrees_of_freedom'
        ) }} as p_value,

        -- The test of two proportions with one variance for both.
        case
            when metric = 'conversion'
                then difference / nullif(sqrt(
                    {{ ratio('(total + control_total)', '(n_mature + control_n_mature)') }}
                    * (1 - {{ ratio('(total + control_total)', '(n_mature + control_n_mature)') }})
                    * (
                        {{ ratio('1', 'n_mature') }} + {{ ratio('1', 'control_n_mature') }}
                    )
                ), 0)
        end as pooled_z,

        {{ ratio('difference', 'control_mean') }} as relative_lift,
        {{ ratio('difference', 'control_mean') }} - t_quantile * sqrt(variance_of_lift)
            as relative_lift_lower,
        {{ ratio('difference', 'control_mean') }} + t_quantile * sqrt(variance_of_lift)
            as relative_lift_upper,

        difference - always_valid_margin as always_valid_lower,
        difference + always_valid_margin as always_valid_upper,
        {{ confidence_sequence_p_value(
            'difference', 'variance_of_difference', '(n_mature + control_n_mature)'
        ) }} as always_valid_p_value,

        window_start_date,
        window_end_date

    from margins

)

select * from final
