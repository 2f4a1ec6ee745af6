with curve as (

    select * from {{ ref('fct_uplift_curve') }}

),

-- The area below both curves, by trapezoids from point to point.
steps as (

    select
        *,
        n_treated + n_control as n_targeted,
        lag(n_treated + n_control) over from_nobody_on as previous_n_targeted,
        lag(qini) over from_nobody_on as previous_qini,
        lag(cumulative_uplift) over from_nobody_on as previous_uplift,
        row_number() over (
            partition by experiment, arm, ranking order by place desc
        ) = 1 as is_everybody
    from curve
    window from_nobody_on as (partition by experiment, arm, ranking order by place)

),

areas as (

    select
        {% for name in [
            'n_treated', 'n_control', 'n_treated_converted', 'n_control_converted', 'qini',
            'cumulative_uplift', 'net_per_lead', 'net_per_lead_lower', 'net_per_lead_upper',
        ] %}
        max({{ name }}) filter (where is_everybody) as {{ name }},
        {% endfor %}
        {{ stable_sum('(n_targeted - previous_n_targeted) * (qini + previous_qini) / 2') }}
            as qini_area,
        {{ stable_sum(
            '(n_targeted - previous_n_targeted) * (cumulative_uplift + previous_uplift) / 2'
        ) }} as uplift_area,
        experiment,
        arm,
        ranking
    from steps
    group by experiment, arm, ranking

),

-- Whoever would convert if treated and only then comes first, whoever only without it last.
groups as (

    select
        *,
        cast(n_treated + n_control as double precision) as n,
        cast(n_treated_converted as double precision) as tr,
        cast(n_treated - n_treated_converted as double precision) as tn,
        cast(n_control_converted as double precision) as cr,
        cast(n_control - n_control_converted as double precision) as cn
    from areas

),

-- The two curves of a score that knew all this, as scikit-uplift draws them.
perfect as (

    select
        *,
        tr * tr / 2 + tr * (tn + cn) + cr * (tr + qini) / 2 as perfect_qini_area,
        case when tr > 0 then tr else 0 end as after_treated,
        case when tr > 0 then tr + cn else 0 end as after_half,
        case
            when cr > tn
                then
                    (case when tr > 0 then 1 else 0 end - coalesce(cr / nullif(cr + cn, 0), 0))
                    * (tr + cn + cr)
            else coalesce(tr / nullif(tr + tn, 0), 0) * (tr + cn + tn)
        end as after_three,
        case when cr > tn then cr else tn end as third,
        case when cr > tn then tn else cr end as fourth
    from groups

),

coefficients as (

    select
        *,
        tr * after_treated / 2
        + cn * (after_treated + after_half) / 2
        + third * (after_half + after_three) / 2
        + fourth * (after_three + cumulative_uplift) / 2 as perfect_uplift_area
    from perfect

),

-- The first point at which so many are targeted; scores of one bin cannot be told apart.
tops as (

    select
        {% for percent in [10, 20, 30] %}
        {% for bound in ['', '_lower', '_upper'] %}
        (
            array_agg(conversion_difference{{ bound }} order by place)
            filter (where share_targeted >= {{ percent / 100 }})
        )[1] as uplift_at_{{ percent }}{{ bound }},
        {% endfor %}
        {% endfor %}
        experiment,
        arm,
        ranking
    from curve
    group by experiment, arm, ranking

),

final as (

    select
        coefficients.experiment,
        coefficients.arm,
        coefficients.ranking,

        coefficients.n_treated,
        coefficients.n_control,

        -- Without anybody in the control arm there is nothing to be uplifted from.
        case when coefficients.n_control > 0 then {{ ratio(
            '(coefficients.qini_area - coefficients.qini * coefficients.n / 2)',
            '(coefficients.perfect_qini_area - coefficients.qini * coefficients.n / 2)'
        ) }} end as qini_coefficient,
        case when coefficients.n_control > 0 then {{ ratio(
            '(coefficients.uplift_area - coefficients.cumulative_uplift * coefficients.n / 2)',
            '(coefficients.perfect_uplift_area - coefficients.cumulative_uplift * coefficients.n / 2)'
        ) }} end as auuc,

        {% for percent in [10, 20, 30] %}
        tops.uplift_at_{{ percent }},
        tops.uplift_at_{{ percent }}_lower,
        tops.uplift_at_{{ percent }}_upper,
        {% endfor %}

        best.threshold as best_threshold,
        best.share_targeted as best_share_targeted,
        best.net_per_lead as best_net_per_lead,
        best.net_per_lead_lower as best_net_per_lead_lower,
        best.net_per_lead_upper as best_net_per_lead_upper,
        coefficients.net_per_lead as everybody_net_per_lead,
        coefficients.net_per_lead_lower as everybody_net_per_lead_lower,
        coefficients.net_per_lead_upper as everybody_net_per_lead_upper

    from coefficients
    inner join tops
        on
            coefficients.experiment = tops.experiment
            and coefficients.arm = tops.arm
            and coefficients.ranking = tops.ranking
    left join curve as best
        on
            coefficients.experiment = best.experiment
            and coefficients.arm = best.arm
            and coefficients.ranking = best.ranking
            and best.is_best

)

select * from final
