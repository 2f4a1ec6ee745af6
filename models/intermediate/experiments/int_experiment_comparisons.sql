{%- set window = ['slice_name', 'slice_value', 'window_name', 'window_end_date'] -%}
{%- set key = ['experiment', 'arm', 'metric'] + window -%}
{#- All that a comparison is computed from. -#}
{%- set inputs = [
    'control_arm', 'window_start_date', 'n_assigned', 'n_pending', 'n_mature',
    'control_n_assigned', 'control_n_pending', 'control_n_mature', 'total', 'control_total',
    'variance_of_mean', 'control_variance_of_mean',
] -%}
{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key=key,
        on_schema_change='fail',
        sql_header=before_adding_up(),
        post_hook='{{ analyze_once() }}',
    )
}}

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
        {% for name in window %}
        windows.{{ name }},
        {% endfor %}
        windows.window_start_date,
        metrics.metric,
        windows.n_assigned,
        windows.n_pending,
        windows.n_mature,
        metrics.total,
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
        {% for name in window %}
        treated.{{ name }},
        {% endfor %}
        treated.window_start_date,
        treated.metric,

        treated.n_assigned,
        treated.n_pending,
        treated.n_mature,
        treated.total,
        treated.variance_of_mean,

        coalesce(control.n_assigned, 0) as control_n_assigned,
        coalesce(control.n_pending, 0) as control_n_pending,
        coalesce(control.n_mature, 0) as control_n_mature,
        coalesce(control.total, 0) as control_total,
        control.variance_of_mean as control_variance_of_mean
    from arms as treated
    left join arms as control
        on
            treated.experiment = control.experiment
            and treated.control_arm = control.arm
            and treated.metric = control.metric
            {% for name in window %}
            and treated.{{ name }} = control.{{ name }}
            {% endfor %}
    where treated.arm != treated.control_arm

),

-- Intervals take a hundred times as long as sums. A window that is no more leaves its key alone:
-- that row is how replace_touched learns of it.
touched as (

    {% if is_incremental() %}
    select
        {% for name in key %}
        coalesce(pairs.{{ name }}, known.{{ name }}) as {{ name }},
        {% endfor %}
        {% for name in inputs %}
        pairs.{{ name }},
        {% endfor %}
        case when pairs.experiment is not null then {{ next_change_number() }} end as change_number
    from pairs
    full join {{ this }} as known
        on
            pairs.experiment = known.experiment
            {% for name in key[1:] %}
            and pairs.{{ name }} = known.{{ name }}
            {% endfor %}
    where
        pairs.control_arm is distinct from known.control_arm
        {% for name in inputs[1:] %}
        or pairs.{{ name }} is distinct from known.{{ name }}
        {% endfor %}
    {% else %}
    select
        *,
        {{ next_change_number() }} as change_number
    from pairs
    {% endif %}

),

means as (

    select
        *,
        {{ ratio('total', 'n_mature') }} as mean,
        {{ ratio('control_total', 'control_n_mature') }} as control_mean,
        {{ ratio('total', 'n_mature') }} - {{ ratio('control_total', 'control_n_mature') }}
            as difference,
        variance_of_mean + control_variance_of_mean as variance_of_difference,
        {{ welch_degrees_of_freedom(
            'variance_of_mean', 'n_mature', 'control_variance_of_mean', 'control_n_mature'
        ) }} as degrees_of_freedom
    from touched

),

-- By itself: pulled up, a quantile would be computed in every place that it is used.
margins as (

    select
        means.*,
        computed.*
    from means
    cross join
        lateral (
            select
                {{ student_t_quantile('0.975', 'means.degrees_of_freedom') }} as t_quantile,
                {{ ratio_variance(
                    'means.mean', 'means.variance_of_mean',
                    'means.control_mean', 'means.control_variance_of_mean'
                ) }} as variance_of_lift,
                {{ confidence_sequence_margin(
                    'means.variance_of_difference', '(means.n_mature + means.control_n_mature)'
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
        variance_of_mean,
        control_variance_of_mean,
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
        window_end_date,
        change_number

    from margins

)

select * from final
