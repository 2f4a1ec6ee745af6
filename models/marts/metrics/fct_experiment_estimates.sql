with windows as (

    select * from {{ ref('int_experiment_windows') }}
    where window_name = 'all' and slice_name in ('all', 'score_decile')

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

covariates as (

    select * from {{ ref('int_experiment_covariate_totals') }}

),

-- Of each arm, and of each tenth of its scores.
means as (

    select
        windows.experiment,
        windows.arm,
        windows.arm = experiments.control_arm as is_control,
        experiments.control_arm,
        windows.slice_name,
        windows.slice_value,
        metrics.metric,
        windows.n_mature,
        metrics.total,
        {{ ratio('metrics.total', 'windows.n_mature') }} as mean,
        {{ sample_covariance(
            'windows.n_mature', 'metrics.total', 'metrics.total', 'metrics.total_of_squares'
        ) }}
        / nullif(windows.n_mature, 0) as variance_of_mean
    from windows
    inner join experiments
        on windows.experiment = experiments.experiment
    cross join
        lateral {{ outcome_metrics('windows', 'experiments.margin') }} as metrics

),

-- As they are ------------------------------------------------------------------------------------

pairs as (

    select
        treated.experiment,
        treated.arm,
        treated.control_arm,
        treated.metric,
        treated.n_mature,
        treated.total,
        treated.mean,
        treated.variance_of_mean,
        control.n_mature as control_n_mature,
        control.total as control_total,
        control.mean as control_mean,
        control.variance_of_mean as control_variance_of_mean
    from means as treated
    inner join means as control
        on
            treated.experiment = control.experiment
            and treated.slice_name = control.slice_name
            and treated.metric = control.metric
            and control.is_control
    where treated.slice_name = 'all' and not treated.is_control

),

plain as (

    select
        experiment,
        arm,
        control_arm,
        metric,
        'plain' as estimator,
        n_mature,
        control_n_mature,
        mean,
        control_mean,
        variance_of_mean,
        control_variance_of_mean,
        {{ welch_degrees_of_freedom(
            'variance_of_mean', 'n_mature', 'control_variance_of_mean', 'control_n_mature'
        ) }} as degrees_of_freedom,
        {{ ratio_variance(
            'mean', 'variance_of_mean', 'control_mean', 'control_variance_of_mean'
        ) }} as variance_of_lift,
        case when least(n_mature, control_n_mature) < 2 then 'an arm has fewer than two leads' end
            as unknown_because
    from pairs

),

-- Compared within tenths of the score, then averaged over all ------------------------------------

-- Every tenth in which anybody of the arm or of its control has matured.
paired_strata as (

    select
        pairs.experiment,
        pairs.arm,
        pairs.control_arm,
        pairs.metric,
        {% for name in ['n_mature', 'mean', 'variance_of_mean'] %}
        max(strata.{{ name }}) filter (where not strata.is_control) as {{ name }},
        max(strata.{{ name }}) filter (where strata.is_control) as control_{{ name }},
        {% endfor %}
        strata.slice_value as score_decile
    from pairs
    inner join means as strata
        on
            pairs.experiment = strata.experiment
            and pairs.metric = strata.metric
            and (strata.is_control or pairs.arm = strata.arm)
    where strata.slice_name = 'score_decile' and strata.n_mature > 0
    group by pairs.experiment, pairs.arm, pairs.control_arm, pairs.metric, strata.slice_value

),

strata_of_pairs as (

    select
        *,
        {{ ratio(
            '(n_mature + control_n_mature)',
            'sum(n_mature + control_n_mature) over (partition by experiment, arm, metric)'
        ) }} as weight,
        least(coalesce(n_mature, 0), coalesce(control_n_mature, 0)) < 2 as is_incomplete
    from paired_strata

),

post_stratified as (

    select
        experiment,
        arm,
        control_arm,
        metric,
        'post_stratified' as estimator,
        cast(sum(n_mature) as bigint) as n_mature,
        cast(sum(control_n_mature) as bigint) as control_n_mature,
        {{ stable_sum('weight * mean') }} as mean,
        {{ stable_sum('weight * control_mean') }} as control_mean,
        {{ stable_sum('power(weight, 2) * variance_of_mean') }} as variance_of_mean,
        {{ stable_sum('power(weight, 2) * control_variance_of_mean') }}
            as control_variance_of_mean,
        -- Welch and Satterthwaite, over the strata of both arms.
        power({{ stable_sum(
            'power(weight, 2) * (variance_of_mean + control_variance_of_mean)'
        ) }}, 2) / nullif({{ stable_sum(
            'power(weight, 4) * ('
            ~ 'power(variance_of_mean, 2) / nullif(n_mature - 1, 0)'
            ~ ' + power(control_variance_of_mean, 2) / nullif(control_n_mature - 1, 0))'
        ) }}, 0) as degrees_of_freedom,
        bool_or(is_incomplete) as is_incomplete
    from strata_of_pairs
    group by experiment, arm, control_arm, metric

),

post_stratified_with_lift as (

    select
        experiment,
        arm,
        control_arm,
        metric,
        estimator,
        n_mature,
        control_n_mature,
        mean,
        control_mean,
        variance_of_mean,
        control_variance_of_mean,
        degrees_of_freedom,
        {{ ratio_variance(
            'mean', 'variance_of_mean', 'control_mean', 'control_variance_of_mean'
        ) }} as variance_of_lift,
        case
            when is_incomplete then 'a tenth of the scores has fewer than two leads in an arm'
        end as unknown_because
    from post_stratified

),

-- What a covariate knew beforehand is taken off --------------------------------------------------

products as (

    select
        totals.experiment,
        totals.arm,
        totals.covariate,
        weights.metric,
        totals.n_mature as n,
        totals.sum_covariate as x,
        totals.sum_squared_covariate as xx,
        {{ outcome_total(
            'weights', 'totals.n_converted', 'totals.sum_revenue', 'totals.sum_redeemed'
        ) }} as y,
        {{ outcome_total(
            'weights', 'totals.sum_covariate_converted', 'totals.sum_covariate_revenue',
            'totals.sum_covariate_redeemed'
        ) }} as xy
    from covariates as totals
    inner join experiments
        on totals.experiment = experiments.experiment
    cross join
        lateral {{ outcome_weights('experiments.margin') }}
            as weights (metric, of_conversion, of_revenue, of_redeemed)

),

-- Measured from the mean over both arms; who has no value stands at that mean.
centred as (

    select
        pairs.*,
        treated.covariate,
        treated.x - treated.n * centre.x as x,
        treated.xx - 2 * centre.x * treated.x + treated.n * centre.x * centre.x as xx,
        treated.xy - centre.x * treated.y as xy,
        control.x - control.n * centre.x as control_x,
        control.xx - 2 * centre.x * control.x + control.n * centre.x * centre.x as control_xx,
        control.xy - centre.x * control.y as control_xy
    from pairs
    inner join products as treated
        on
            pairs.experiment = treated.experiment
            and pairs.arm = treated.arm
            and pairs.metric = treated.metric
    inner join products as control
        on
            pairs.experiment = control.experiment
            and pairs.control_arm = control.arm
            and pairs.metric = control.metric
            and treated.covariate = control.covariate
    cross join
        lateral (
            select (treated.x + control.x) / nullif(treated.n + control.n, 0) as x
        ) as centre

),

-- The slope is that of both arms together.
slopes as (

    select
        *,
        {% for arm in ['', 'control_'] %}
        {{ sample_covariance(arm ~ 'n_mature', arm ~ 'x', arm ~ 'x', arm ~ 'xx') }}
            as {{ arm }}variance_of_x,
        {{ sample_covariance(arm ~ 'n_mature', arm ~ 'x', arm ~ 'total', arm ~ 'xy') }}
            as {{ arm }}covariance,
        {% endfor %}
        {{ cuped_theta(
            '(n_mature + control_n_mature)', '(total + control_total)', '(x + control_x)',
            '(xx + control_xx)', '(xy + control_xy)'
        ) }} as theta
    from centred

),

-- As if the arm had the covariate's mean of the control arm, which stays as it is.
adjusted as (

    select
        *,
        mean - theta * cast(
            x / nullif(n_mature, 0) - control_x / nullif(control_n_mature, 0) as double precision
        ) as adjusted_mean,
        {{ cuped_variance(
            'variance_of_mean * n_mature', 'variance_of_x', 'covariance', 'theta'
        ) }} / nullif(n_mature, 0) as adjusted_variance,
        {{ cuped_variance(
            'control_variance_of_mean * control_n_mature', 'control_variance_of_x',
            'control_covariance', 'theta'
        ) }} / nullif(control_n_mature, 0) as adjusted_control_variance
    from slopes

),

cuped as (

    select
        experiment,
        arm,
        control_arm,
        metric,
        'cuped_' || covariate as estimator,
        n_mature,
        control_n_mature,
        adjusted_mean as mean,
        control_mean,
        adjusted_variance as variance_of_mean,
        adjusted_control_variance as control_variance_of_mean,
        {{ welch_degrees_of_freedom(
            'adjusted_variance', 'n_mature', 'adjusted_control_variance', 'control_n_mature'
        ) }} as degrees_of_freedom,
        -- The control mean moves the numerator too, through the covariate's mean.
        {{ ratio_variance(
            'mean',
            'adjusted_variance + theta * theta * control_variance_of_x / control_n_mature',
            'control_mean',
            'control_variance_of_mean',
            'theta * control_covariance / control_n_mature'
        ) }} as variance_of_lift,
        case
            when least(n_mature, control_n_mature) < 2 then 'an arm has fewer than two leads'
            when theta is null then 'everybody has the same value of the covariate, or none'
        end as unknown_because
    from adjusted

),

-- All of them, by one formula --------------------------------------------------------------------

estimates as (

    select * from plain
    union all
    select * from post_stratified_with_lift
    union all
    select * from cuped

),

known as (

    select
        experiment,
        arm,
        control_arm,
        metric,
        estimator,
        n_mature,
        control_n_mature,
        unknown_because,
        {% for name in [
            'mean', 'control_mean', 'variance_of_mean', 'control_variance_of_mean',
            'variance_of_lift',
        ] %}
        case when unknown_because is null then {{ name }} end as {{ name }},
        {% endfor %}
        case when unknown_because is null then degrees_of_freedom end as degrees_of_freedom
    from estimates

),

differences as (

    select
        *,
        mean - control_mean as difference,
        sqrt(variance_of_mean + control_variance_of_mean) as standard_error,
        max(case when estimator = 'plain' then variance_of_mean + control_variance_of_mean end)
            over (partition by experiment, arm, metric) as plain_variance
    from known

),

-- By itself: pulled up, the quantile would be computed in every place that it is used.
margins as (

    select
        differences.*,
        quantiles.t_quantile
    from differences
    cross join
        lateral (
            select {{ student_t_quantile('0.975', 'differences.degrees_of_freedom') }} as t_quantile
            limit 1 -- noqa: AM09
        ) as quantiles

),

final as (

    select
        experiment,
        arm,
        control_arm,
        metric,
        estimator,
        unknown_because,

        n_mature,
        control_n_mature,
        mean,
        control_mean,

        difference,
        standard_error,
        difference - t_quantile * standard_error as difference_lower,
        difference + t_quantile * standard_error as difference_upper,
        {{ student_t_p_value('difference / nullif(standard_error, 0)', 'degrees_of_freedom') }}
            as p_value,

        {{ ratio('difference', 'control_mean') }} as relative_lift,
        {{ ratio('difference', 'control_mean') }} - t_quantile * sqrt(variance_of_lift)
            as relative_lift_lower,
        {{ ratio('difference', 'control_mean') }} + t_quantile * sqrt(variance_of_lift)
            as relative_lift_upper,

        {{ ratio('plain_variance', '(variance_of_mean + control_variance_of_mean)') }}
            as variance_ratio

    from margins

)

select * from final
