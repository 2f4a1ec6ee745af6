with bins as (

    select * from {{ ref('int_experiment_score_totals') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

metrics as (

    select
        bins.experiment,
        bins.arm,
        bins.score_bin,
        bins.arm = experiments.control_arm as is_control,
        bins.n_mature,
        bins.n_converted,
        metrics.total as net_money,
        metrics.total_of_squares as squared_net_money
    from bins
    inner join experiments
        on bins.experiment = experiments.experiment
    cross join
        lateral {{ outcome_metrics('bins', 'experiments.margin') }} as metrics
    where metrics.metric = 'net_money' and bins.n_mature > 0

),

arms as (

    select distinct
        experiment,
        arm
    from metrics
    where not is_control

),

-- Every bin of a paying arm or of its control.
pairs as (

    select
        arms.experiment,
        arms.arm,
        {% for name in ['n_mature', 'n_converted', 'net_money', 'squared_net_money'] %}
        coalesce(sum(metrics.{{ name }}) filter (where not metrics.is_control), 0)
            as treated_{{ name }},
        coalesce(sum(metrics.{{ name }}) filter (where metrics.is_control), 0)
            as control_{{ name }},
        {% endfor %}
        metrics.score_bin
    from arms
    inner join metrics
        on
            arms.experiment = metrics.experiment
            and (metrics.is_control or arms.arm = metrics.arm)
    group by arms.experiment, arms.arm, metrics.score_bin

),

-- Whom to target first: those with the highest scores, or those with the lowest.
ranked as (

    select
        pairs.*,
        rankings.ranking,
        rankings.direction * pairs.score_bin as place
    from pairs
    cross join (values ('highest_first', -1), ('lowest_first', 1)) as rankings (ranking, direction)

),

-- And before anybody, nobody.
from_nobody_on as (

    select * from ranked

    union all

    select
        experiment,
        arm,
        {% for name in ['n_mature', 'n_converted', 'net_money', 'squared_net_money'] %}
        0 as treated_{{ name }},
        0 as control_{{ name }},
        {% endfor %}
        case ranking when 'highest_first' then max(score_bin) + 1 else min(score_bin) - 1 end
            as score_bin,
        ranking,
        min(place) - 1 as place
    from ranked
    group by experiment, arm, ranking

),

cumulated as (

    select
        experiment,
        arm,
        ranking,
        score_bin,
        place,
        {% for arm in ['treated', 'control'] %}
        sum({{ arm }}_n_mature) over so_far as n_{{ arm }},
        sum({{ arm }}_n_converted) over so_far as n_{{ arm }}_converted,
        sum({{ arm }}_net_money) over so_far as {{ arm }}_net_money,
        sum({{ arm }}_squared_net_money) over so_far as {{ arm }}_squared_net_money,
        {% endfor %}
        sum(treated_n_mature + control_n_mature) over everybody as n_all
    from from_nobody_on
    window
        so_far as (partition by experiment, arm, ranking order by place),
        everybody as (partition by experiment, arm, ranking)

),

rates as (

    select
        *,
        {{ ratio('n_treated + n_control', 'n_all') }} as share_targeted,
        {{ ratio('n_treated_converted', 'n_treated') }} as treated_rate,
        {{ ratio('n_control_converted', 'n_control') }} as control_rate,
        {{ ratio('treated_net_money', 'n_treated') }}
        - {{ ratio('control_net_money', 'n_control') }} as net_money_difference,
        sqrt(
            {{ sample_covariance(
                'n_treated', 'treated_net_money', 'treated_net_money', 'treated_squared_net_money'
            ) }} / nullif(n_treated, 0)
            + {{ sample_covariance(
                'n_control', 'control_net_money', 'control_net_money', 'control_squared_net_money'
            ) }} / nullif(n_control, 0)
        ) as net_money_standard_error
    from cumulated

),

nets as (

    select
        *,
        case when n_treated + n_control = 0 then 0 else share_targeted * net_money_difference end
            as net_per_lead,
        case
            when n_treated + n_control = 0 then 0
            -- Money that is all alike says nothing of how it varies.
            else
                {{ normal_quantile('0.975') }} * share_targeted
                * nullif(net_money_standard_error, 0)
        end as net_margin_of_error
    from rates

),

final as (

    select
        experiment,
        arm,
        ranking,

        -- Targeted are scores from the threshold on, or below it; above the last bin there is none.
        {{ histogram_bin_edge(
            "nullif(case ranking when 'lowest_first' then score_bin + 1 else score_bin end, 1080)"
        ) }} as threshold,
        place,

        cast(n_treated as bigint) as n_treated,
        cast(n_control as bigint) as n_control,
        cast(n_treated_converted as bigint) as n_treated_converted,
        cast(n_control_converted as bigint) as n_control_converted,
        share_targeted,

        treated_rate - control_rate as conversion_difference,
        {{ newcombe_bound(
            'n_treated_converted', 'n_treated', 'n_control_converted', 'n_control', 'lower'
        ) }} as conversion_difference_lower,
        {{ newcombe_bound(
            'n_treated_converted', 'n_treated', 'n_control_converted', 'n_control', 'upper'
        ) }} as conversion_difference_upper,

        -- As scikit-uplift draws them: an arm that is still empty counts as one without outcomes.
        n_treated_converted - coalesce(control_rate, 0) * n_treated as qini,
        (coalesce(treated_rate, 0) - coalesce(control_rate, 0)) * (n_treated + n_control)
            as cumulative_uplift,

        net_per_lead,
        net_per_lead - net_margin_of_error as net_per_lead_lower,
        net_per_lead + net_margin_of_error as net_per_lead_upper,

        -- Of several that are as good, the one with the fewest people.
        net_per_lead is not null and row_number() over (
            partition by experiment, arm, ranking
            order by net_per_lead desc nulls last, place asc
        ) = 1 as is_best

    from nets

)

select * from final
