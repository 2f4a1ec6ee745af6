with comparisons as (

    select * from {{ ref('fct_coupon_uplift') }}
    where slice_name = 'all'

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

totals as (

    select
        experiment,
        arm,
        {% for name in experiment_sums() + ['n_offered', 'n_redeemed', 'sum_offered'] %}
        cast(sum({{ name }}) as {{ type_of_sum(name) }}) as {{ name }}
        {%- if not loop.last %},{% endif %}
        {% endfor %}
    from {{ ref('int_experiment_daily') }}
    where slice_name = 'all'
    group by experiment, arm

),

with_net_money as (

    select
        totals.experiment,
        totals.arm,
        totals.n_mature,
        -- Where no event tells of offers, they are not known to be none.
        case when experiments.offered_event is not null then totals.n_offered end as n_offered,
        totals.n_redeemed,
        totals.sum_offered,
        totals.sum_redeemed,
        totals.sum_squared_redeemed,
        metrics.total as sum_net,
        metrics.total_of_squares as sum_squared_net,
        metrics.total_by_redeemed as sum_net_redeemed
    from totals
    inner join experiments
        on totals.experiment = experiments.experiment
    cross join
        lateral {{ outcome_metrics('totals', 'experiments.margin') }} as metrics
    where metrics.metric = 'net_money'

),

moments as (

    select
        *,
        {{ ratio('sum_redeemed', 'n_mature') }} as mean_redeemed,
        {{ ratio('sum_offered', 'n_mature') }} as mean_offered,
        {{ sample_covariance('n_mature', 'sum_net', 'sum_net', 'sum_squared_net') }}
        / nullif(n_mature, 0) as net_variance,
        {{ sample_covariance(
            'n_mature', 'sum_redeemed', 'sum_redeemed', 'sum_squared_redeemed'
        ) }}
        / nullif(n_mature, 0) as redeemed_variance,
        {{ sample_covariance('n_mature', 'sum_net', 'sum_redeemed', 'sum_net_redeemed') }}
        / nullif(n_mature, 0) as net_redeemed_covariance
    from with_net_money

),

-- What each arm brought over control, per lead.
differences as (

    select
        experiment,
        arm,
        control_arm,
        n_assigned,
        n_pending,
        n_mature,
        decision,
        is_trustworthy,
        {% for metric in ['conversion', 'revenue', 'margin', 'net_money'] %}
        {% for bound in ['difference', 'difference_lower', 'difference_upper'] %}
        max({{ bound }}) filter (where metric = '{{ metric }}') as {{ metric }}_{{ bound }},
        {% endfor %}
        {% endfor %}
        min(first_assignment_date) as first_assignment_date,
        max(last_assignment_date) as last_assignment_date
    from comparisons
    group by
        experiment, arm, control_arm, n_assigned, n_pending, n_mature, decision, is_trustworthy

),

-- A ratio of two means that are not independent: its variance by the delta method.
ratios as (

    select
        differences.*,
        treated.n_offered,
        treated.n_redeemed,
        treated.sum_offered,
        treated.sum_redeemed,
        treated.mean_offered,
        differences.net_money_difference / nullif(treated.mean_redeemed, 0)
            as return_on_coupon_spend,
        {{ ratio_variance(
            'differences.net_money_difference', 'treated.net_variance + control.net_variance',
            'treated.mean_redeemed', 'treated.redeemed_variance', 'treated.net_redeemed_covariance'
        ) }} as variance_of_return
    from differences
    inner join moments as treated
        on differences.experiment = treated.experiment and differences.arm = treated.arm
    left join moments as control
        on
            differences.experiment = control.experiment
            and differences.control_arm = control.arm

),

returns as (

    select
        *,
        -- Rounding may leave less than nothing; NULL stays NULL.
        {{ normal_quantile('0.975') }}
        * case when variance_of_return < 0 then 0 else sqrt(variance_of_return) end as return_margin
    from ratios

),

final as (

    select
        experiment,
        arm,
        control_arm,
        decision,

        n_assigned,
        n_pending,
        n_mature,
        n_offered,
        n_redeemed,
        sum_offered,
        sum_redeemed,

        {% for name, metric in [
            ('incremental_conversions', 'conversion'),
            ('incremental_revenue', 'revenue'),
            ('incremental_margin', 'margin'),
            ('net_money', 'net_money'),
        ] %}
        n_mature * {{ metric }}_difference as {{ name }},
        n_mature * {{ metric }}_difference_lower as {{ name }}_lower,
        n_mature * {{ metric }}_difference_upper as {{ name }}_upper,
        {% endfor %}

        return_on_coupon_spend,
        return_on_coupon_spend - return_margin as return_on_coupon_spend_lower,
        return_on_coupon_spend + return_margin as return_on_coupon_spend_upper,

        -- At this worth, taken as often, the coupons would have cost what they brought.
        mean_offered * (1 + return_on_coupon_spend) as break_even_offer,
        mean_offered * (1 + return_on_coupon_spend - return_margin) as break_even_offer_lower,
        mean_offered * (1 + return_on_coupon_spend + return_margin) as break_even_offer_upper,

        is_trustworthy,

        first_assignment_date,
        last_assignment_date

    from returns

)

select * from final
