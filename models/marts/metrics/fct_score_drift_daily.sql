{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'prediction_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['task', 'model_version', 'prediction_date'], 'unique': true},
        ]
    )
}}

with backtest_bins as (

    select * from {{ ref('int_score_histogram_daily') }}
    where run_kind = 'backtest' and slice_name = 'all'

),

live_bins as (

    select * from {{ ref('int_score_histogram_daily') }}
    where run_kind = 'live' and slice_name = 'all'

),

-- What a version answered in its backtest.
reference_bins as (

    select
        task,
        model_version,
        score_bin,
        sum(n_predictions) as n_reference,
        sum(sum_score) as sum_reference,
        max(change_number) as change_number
    from backtest_bins
    group by task, model_version, score_bin

),

touched_days as (

    select distinct
        task,
        model_version,
        prediction_date
    from live_bins
    {% if is_incremental() %}
    where
        change_number > {{ newest_change_number(this) }}
        or (task, model_version) in (
            select
                reference_bins.task,
                reference_bins.model_version
            from reference_bins
            where reference_bins.change_number > {{ newest_change_number(this) }}
        )
    {% endif %}

),

-- Both sides, one below the other; a bin that neither has needs no row.
sides as (

    select
        live_bins.task,
        live_bins.model_version,
        live_bins.prediction_date,
        live_bins.score_bin,
        live_bins.n_predictions,
        live_bins.sum_score,
        0 as n_reference,
        0 as sum_reference
    from touched_days
    inner join live_bins
        on
            touched_days.task = live_bins.task
            and touched_days.model_version = live_bins.model_version
            and touched_days.prediction_date = live_bins.prediction_date

    union all

    select
        touched_days.task,
        touched_days.model_version,
        touched_days.prediction_date,
        reference_bins.score_bin,
        0 as n_predictions,
        0 as sum_score,
        reference_bins.n_reference,
        reference_bins.sum_reference
    from touched_days
    inner join reference_bins
        on
            touched_days.task = reference_bins.task
            and touched_days.model_version = reference_bins.model_version

),

bins as (

    select
        task,
        model_version,
        prediction_date,
        {{ histogram_bin_edge('score_bin') }} as lower_edge,
        {{ histogram_bin_edge('score_bin + 1') }} as upper_edge,
        sum(n_predictions) as n_predictions,
        sum(sum_score) * 1e-12 as sum_score,
        sum(n_reference) as n_reference,
        sum(sum_reference) * 1e-12 as sum_reference
    from sides
    group by task, model_version, prediction_date, score_bin

),

running_counts as (

    select
        *,
        sum(n_predictions) over so_far as n_so_far,
        sum(n_reference) over so_far as n_reference_so_far,
        sum(n_predictions) over whole as n_day,
        sum(n_reference) over whole as n_backtest,
        lead(lower_edge, 1, upper_edge) over so_far as next_edge
    from bins
    window
        whole as (partition by task, model_version, prediction_date),
        so_far as (whole order by lower_edge)

),

-- The two empirical distributions: how high they are below and above a bin, and what lies in it.
curves as (

    select
        *,
        -- A bin belongs to the tenth of the reference in which it begins.
        {{ reference_tenth('(n_reference_so_far - n_reference)', 'n_backtest') }} as tenth,
        {{ ratio('(n_so_far - n_predictions)', 'n_day') }} as below,
        {{ ratio('n_so_far', 'n_day') }} as above,
        {{ ratio('n_predictions', 'n_day') }} as share,
        {{ ratio('sum_score', 'n_day') }} as score_share,
        {{ ratio('(n_reference_so_far - n_reference)', 'n_backtest') }} as reference_below,
        {{ ratio('n_reference_so_far', 'n_backtest') }} as reference_above,
        {{ ratio('n_reference', 'n_backtest') }} as reference_share,
        {{ ratio('sum_reference', 'n_backtest') }} as reference_score_share
    from running_counts
    -- Without a backtest there is nothing to compare with.
    where n_backtest > 0

),

gaps as (

    select
        *,
        abs(above - reference_above) as gap,
        {{ widest_gap('below', 'above', 'reference_below', 'reference_above') }} as widest_gap,
        abs({{ gap_area(
            'lower_edge', 'upper_edge', 'below - reference_below',
            'share', 'score_share', 'reference_share', 'reference_score_share'
        ) }}) as area_within,
        -- Up to the next bin that holds anything.
        abs(above - reference_above) * (next_edge - upper_edge) as area_above,
        above > reference_below and reference_above > below as may_cross
    from curves

),

-- Only where the two may cross is the area between them more than the difference of the areas below
-- them.
bounds as (

    select
        *,
        case
            when may_cross
                then greatest(0, (upper_edge - lower_edge) * widest_gap - area_within)
            else 0
        end as area_error_bound
    from gaps

),

tenths as (

    select
        task,
        model_version,
        prediction_date,
        tenth,
        n_backtest,
        n_day,
        {{ ratio('sum(n_predictions)', 'n_day') }} as share,
        {{ ratio('sum(n_reference)', 'n_backtest') }} as reference_share,
        sum(sum_score) as sum_score,
        sum(sum_reference) as sum_reference,
        max(gap) as gap,
        max(widest_gap) as widest_gap,
        sum(cast(area_within + area_above as numeric)) as area,
        sum(cast(area_error_bound as numeric)) as area_error_bound
    from bounds
    group by task, model_version, prediction_date, tenth, n_backtest, n_day

),

final as (

    select
        task,
        model_version,

        cast(n_backtest as bigint) as n_reference,
        cast(n_day as bigint) as n_predictions,
        {{ population_stability_index('share', 'reference_share') }}
            as population_stability_index,
        max(gap) as kolmogorov_smirnov_statistic,
        greatest(0, max(widest_gap) - max(gap)) as kolmogorov_smirnov_error_bound,
        {{ stable_sum('area') }} as wasserstein_distance,
        {{ stable_sum('area_error_bound') }} as wasserstein_error_bound,
        {{ ratio('sum(sum_reference)', 'n_backtest') }} as reference_mean_score,
        {{ ratio('sum(sum_score)', 'n_day') }} as mean_score,

        prediction_date,
        {{ next_change_number() }} as change_number

    from tenths
    group by task, model_version, prediction_date, n_backtest, n_day

)

select * from final
