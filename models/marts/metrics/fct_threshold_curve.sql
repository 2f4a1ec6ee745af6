with histograms as (

    select * from {{ ref('int_score_histogram_windows') }}
    where slice_name in ('all', 'arm')

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

paying_arms as (

    select * from {{ ref('dim_experiment_arms') }}
    where offer_amount > 0

),

arms as (

    select * from {{ ref('int_experiment_windows') }}
    where window_name = 'all' and slice_name = 'all'

),

-- Of a task's experiments the first by name, if its outcome is what the label tells of, and of its
-- paying arms the first. An offer costs what it is worth when it is redeemed, which is by ordering.
offers as (

    select
        experiments.task,
        experiments.experiment,
        experiments.experiment || ':' || paying_arms.arm as treated_arm,
        experiments.experiment || ':' || experiments.control_arm as control_arm,
        tasks.label_rule,
        experiments.margin,
        cast(paying_arms.offer_amount as double precision) as offer_amount,
        row_number() over (
            partition by experiments.task order by experiments.experiment, paying_arms.arm_number
        ) as experiment_rank
    from experiments
    inner join paying_arms
        on experiments.experiment = paying_arms.experiment
    inner join tasks
        on
            experiments.task = tasks.task
            and experiments.outcome_event = tasks.outcome_event
            and tasks.label_rule in ('occurs', 'absent')

),

-- What somebody who converts brings within the horizon, over all arms and days.
order_values as (

    select
        experiment,
        {{ ratio('sum(sum_revenue)', 'sum(n_converted)') }} as mean_order_value
    from arms
    group by experiment

),

bins as (

    select
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,
        histograms.window_name,
        histograms.window_start_date,
        histograms.window_end_date,
        bins.score_bin,
        bins.n_predictions,
        bins.n_mature,
        bins.n_positives
    from histograms
    cross join lateral {{ histogram_bins('histograms') }}

    union all

    -- A threshold is the lower edge of a bin; one more lies above all scores.
    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,
        window_start_date,
        window_end_date,
        score_bins[cardinality(score_bins)] + 1 as score_bin,
        0 as n_predictions,
        0 as n_mature,
        0 as n_positives
    from histograms
    where slice_name = 'all'

),

bins_with_offers as (

    select
        bins.*,
        offers.experiment,
        offers.margin * order_values.mean_order_value as order_margin,
        offers.offer_amount,
        bins.slice_name = 'arm' and {{ is_among_arms('offers.treated_arm', 'bins.slice_value') }}
            as is_treated,
        bins.slice_name = 'arm' and {{ is_among_arms('offers.control_arm', 'bins.slice_value') }}
            as is_control,
        -- Where a positive is somebody who did not order, the others converted.
        case
            when offers.label_rule = 'absent' then bins.n_mature - bins.n_positives
            else bins.n_positives
        end as n_converted
    from bins
    left join offers
        on bins.task = offers.task and offers.experiment_rank = 1
    left join order_values
        on offers.experiment = order_values.experiment

),

-- Who was randomised stands in the slice `all` as well, so there is a row for every bin of an arm.
thresholds as (

    select
        task,
        model_version,
        run_kind,
        window_name,
        window_start_date,
        window_end_date,
        score_bin,
        experiment,
        order_margin,
        offer_amount,
        sum(n_predictions) filter (where slice_name = 'all') as n_predictions,
        sum(n_mature) filter (where slice_name = 'all') as n_mature,
        sum(n_positives) filter (where slice_name = 'all') as n_positives,
        coalesce(sum(n_mature) filter (where is_treated), 0) as n_treated,
        coalesce(sum(n_converted) filter (where is_treated), 0) as n_treated_converted,
        coalesce(sum(n_mature) filter (where is_control), 0) as n_control,
        coalesce(sum(n_converted) filter (where is_control), 0) as n_control_converted
    from bins_with_offers
    group by
        task,
        model_version,
        run_kind,
        window_name,
        window_start_date,
        window_end_date,
        score_bin,
        experiment,
        order_margin,
        offer_amount

),

-- What lies at or above a threshold is predicted positive; what lies below it gets the offer.
cumulated as (

    select
        task,
        model_version,
        run_kind,
        window_name,
        window_start_date,
        window_end_date,
        score_bin,
        {{ histogram_bin_edge('score_bin') }} as threshold,
        experiment,
        order_margin,
        offer_amount,
        sum(n_predictions) over one_window as all_predictions,
        sum(n_positives) over one_window as all_positives,
        sum(n_mature - n_positives) over one_window as all_negatives,
        sum(n_predictions) over up_to_here - n_predictions as n_predictions_below,
        sum(n_positives) over up_to_here - n_positives as n_positives_below,
        sum(n_mature - n_positives) over up_to_here - (n_mature - n_positives)
            as n_negatives_below,
        sum(n_treated) over up_to_here - n_treated as n_treated_below,
        sum(n_treated_converted) over up_to_here - n_treated_converted
            as n_treated_converted_below,
        sum(n_control) over up_to_here - n_control as n_control_below,
        sum(n_control_converted) over up_to_here - n_control_converted
            as n_control_converted_below,
        lag(score_bin) over up_to_here as highest_bin_below,
        max(score_bin) filter (where n_treated + n_control > 0) over one_window
            as highest_randomised_bin
    from thresholds
    window
        one_window as (partition by task, model_version, run_kind, window_name),
        up_to_here as (
            partition by task, model_version, run_kind, window_name order by score_bin
        )

),

rates as (

    select
        *,
        cast(all_positives - n_positives_below as bigint) as n_true_positives,
        cast(all_negatives - n_negatives_below as bigint) as n_false_positives,
        cast(n_negatives_below as bigint) as n_true_negatives,
        cast(n_positives_below as bigint) as n_false_negatives,
        {{ ratio('n_predictions_below', 'all_predictions') }} as share_below,
        {{ ratio('n_treated_converted_below', 'n_treated_below') }} as treated_rate,
        {{ wilson_bound('n_treated_converted_below', 'n_treated_below', 'lower') }}
            as treated_rate_lower,
        {{ wilson_bound('n_treated_converted_below', 'n_treated_below', 'upper') }}
            as treated_rate_upper,
        {{ ratio('n_control_converted_below', 'n_control_below') }} as control_rate,
        {{ wilson_bound('n_control_converted_below', 'n_control_below', 'lower') }}
            as control_rate_lower,
        {{ wilson_bound('n_control_converted_below', 'n_control_below', 'upper') }}
            as control_rate_upper,
        -- What one who converts brings in the treated arm.
        order_margin - offer_amount as treated_margin,
        case
            when experiment is null then 'no experiment has the task''s outcome'
            when highest_randomised_bin is null then 'nobody was randomised'
            when highest_bin_below > highest_randomised_bin
                then 'beyond the scores that were randomised'
            when order_margin is null then 'nobody ordered yet'
        end as net_unknown_because
    from cumulated

),

-- What an arm brings, per person. Where an offer costs more than an order brings, a higher rate
-- brings less.
moneys as (

    select
        *,
        treated_margin * treated_rate as treated_money,
        least(treated_margin * treated_rate_lower, treated_margin * treated_rate_upper)
            as treated_money_lower,
        greatest(treated_margin * treated_rate_lower, treated_margin * treated_rate_upper)
            as treated_money_upper,
        order_margin * control_rate as control_money,
        least(order_margin * control_rate_lower, order_margin * control_rate_upper)
            as control_money_lower,
        greatest(order_margin * control_rate_lower, order_margin * control_rate_upper)
            as control_money_upper
    from rates

),

nets as (

    select
        *,
        case
            when net_unknown_because is not null then null
            when n_predictions_below = 0 then 0
            else share_below * (treated_money - control_money)
        end as net_per_lead,
        -- How far net money falls, or rises, with both rates at the worse, or better, end of
        -- Wilson's interval: combined like Newcombe's difference of rates (Zou and Donner 2008),
        -- it is not zero where everybody or nobody converted.
        case
            when n_predictions_below = 0 then 0
            else share_below * {{ difference_margin(
                'treated_money', 'treated_money_lower', 'control_money', 'control_money_upper'
            ) }}
        end as net_fall,
        case
            when n_predictions_below = 0 then 0
            else share_below * {{ difference_margin(
                'treated_money', 'treated_money_upper', 'control_money', 'control_money_lower'
            ) }}
        end as net_rise,
        {{ ratio(
            '2 * n_true_positives',
            '(2 * n_true_positives + n_false_positives + n_false_negatives)'
        ) }} as f1_score
    from moneys

),

nets_and_tasks as (

    select
        nets.*,
        tasks.default_threshold as threshold_in_force,
        {{ histogram_bin('tasks.default_threshold') }} as bin_in_force
    from nets
    left join tasks
        on nets.task = tasks.task

),

final as (

    select
        task,
        model_version,
        run_kind,
        window_name,
        experiment,
        case
            when net_unknown_because is not null then net_unknown_because
            when net_per_lead is null then 'an arm is empty below this threshold'
        end as net_unknown_because,

        threshold,
        n_true_positives,
        n_false_positives,
        n_true_negatives,
        n_false_negatives,
        {{ ratio('n_true_positives', 'all_positives') }} as true_positive_rate,
        {{ ratio('n_false_positives', 'all_negatives') }} as false_positive_rate,
        {{ ratio('n_true_positives', '(n_true_positives + n_false_positives)') }} as precision,
        f1_score,

        share_below,
        cast(n_treated_below as bigint) as n_treated_below,
        cast(n_control_below as bigint) as n_control_below,
        treated_rate,
        control_rate,
        net_per_lead,
        net_per_lead - net_fall as net_per_lead_lower,
        net_per_lead + net_rise as net_per_lead_upper,
        threshold_in_force,

        -- Nobody scores between two thresholds of the curve but in the bin of the lower one: what
        -- lies at or above another threshold is what lies at or above the next one of the curve.
        threshold_in_force is not null and row_number() over (
            partition by task, model_version, run_kind, window_name
            order by score_bin >= bin_in_force desc, abs(score_bin - bin_in_force) asc
        ) = 1 as is_in_force,
        -- Of several that are as good, the lowest.
        f1_score is not null and row_number() over (
            partition by task, model_version, run_kind, window_name
            order by f1_score desc nulls last, threshold asc
        ) = 1 as is_best_by_f1,
        net_per_lead is not null and row_number() over (
            partition by task, model_version, run_kind, window_name
            order by net_per_lead desc nulls last, threshold asc
        ) = 1 as is_best_by_net,

        window_start_date,
        window_end_date

    from nets_and_tasks

)

select * from final
