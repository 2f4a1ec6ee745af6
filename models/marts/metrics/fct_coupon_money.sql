with comparisons as (

    select * from {{ ref('fct_coupon_uplift') }}
    where slice_name = 'all'

),

statistics as (

    select * from {{ ref('int_experiment_daily') }}
    where slice_name = 'all'

),

margins as (

    select
        experiment,
        offered_event,
        cast(margin as numeric) as m
    from {{ ref('dim_experiments') }}

),

totals as (

    select
        statistics.experiment,
        statistics.arm,
        cast(sum(statistics.n_mature) as bigint) as n_mature,
        -- Where no event tells of offers, they are not known to be none.
        cast(sum(statistics.n_offered) filter (where margins.offered_event is not null) as bigint)
            as n_offered,
        cast(sum(statistics.n_redeemed) as bigint) as n_redeemed,
        sum(statistics.sum_offered) as sum_offered,
        sum(statistics.sum_redeemed) as sum_redeemed,
        sum(statistics.sum_squared_redeemed) as sum_squared_redeemed,
        -- An order's amount is what was paid, after the coupon; margin is of the price before it.
        sum(margins.m * statistics.sum_revenue - (1 - margins.m) * statistics.sum_redeemed)
            as sum_net,
        sum(
            margins.m * margins.m * statistics.sum_squared_revenue
            - 2 * margins.m * (1 - margins.m) * statistics.sum_revenue_redeemed
            + (1 - margins.m) * (1 - margins.m) * statistics.sum_squared_redeemed
        ) as sum_squared_net,
        sum(
            margins.m * statistics.sum_revenue_redeemed
            - (1 - margins.m) * statistics.sum_squared_redeemed
        ) as sum_net_redeemed
    from statistics
    inner join margins
        on statistics.experiment = margins.experiment
    group by statistics.experiment, statistics.arm

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
    from totals

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
