{{
    config(
        materialized='table',
        sql_header=before_adding_up(),
        post_hook='analyze {{ this }} (task, model_version, run_kind, window_name)',
    )
}}

with windows as (

    select * from {{ ref('int_evaluation_windows') }}

),

-- A window is its whole weeks, and the days around them: all time has few weeks and many days.
bins as (

    select
        weeks.task,
        weeks.model_version,
        weeks.run_kind,
        weeks.slice_name,
        weeks.slice_value,
        windows.window_name,
        bins.*,
        windows.window_start_date,
        windows.window_end_date,
        weeks.change_number
    from {{ ref('int_score_histogram_weeks') }} as weeks
    inner join windows
        on
            weeks.task = windows.task
            and weeks.run_kind = windows.run_kind
            and weeks.week_start_date >= windows.window_start_date
            and weeks.week_start_date + 6 <= windows.window_end_date
    cross join lateral {{ histogram_bins('weeks') }}

    union all

    select
        days.task,
        days.model_version,
        days.run_kind,
        days.slice_name,
        days.slice_value,
        windows.window_name,
        days.score_bin,
        days.n_predictions,
        days.n_mature,
        days.n_positives,
        days.sum_score * 1e12 as sum_score,
        days.sum_mature_score * 1e12 as sum_mature_score,
        windows.window_start_date,
        windows.window_end_date,
        days.change_number
    from windows
    cross join
        lateral (
            -- By itself: the planner would unfold all days before it leaves out most of them.
            select days.*
            from {{ ref('int_score_histogram_daily') }} as days
            where
                days.task = windows.task
                and days.run_kind = windows.run_kind
                and days.prediction_date
                between windows.window_start_date and windows.window_end_date
                and (
                    {{ week_start('days.prediction_date') }} < windows.window_start_date
                    or {{ week_start('days.prediction_date') }} + 6 > windows.window_end_date
                )
            offset 0 -- noqa: AM09
        ) as days

),

sums as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,

        score_bin,
        cast(sum(n_predictions) as integer) as n_predictions,
        cast(sum(n_mature) as integer) as n_mature,
        cast(sum(n_positives) as integer) as n_positives,
        -- Whole numbers up to here: in whatever order days are added up, it is the same double.
        cast(sum(sum_score) as double precision) as sum_score,
        cast(sum(sum_mature_score) as double precision) as sum_mature_score,

        -- They follow from the window.
        min(window_start_date) as window_start_date,
        min(window_end_date) as window_end_date,
        max(change_number) as change_number

    from bins
    group by
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,
        score_bin

),

-- Sorted by bin alone and then hashed: sorting by all the keys would take longer than all the rest.
ordered_sums as (

    select * from sums
    order by score_bin

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,
        window_name,

        array_agg(score_bin) as score_bins,
        array_agg(n_predictions) as n_predictions,
        array_agg(n_mature) as n_mature,
        array_agg(n_positives) as n_positives,
        array_agg(sum_score) as sum_score,
        array_agg(sum_mature_score) as sum_mature_score,

        min(window_start_date) as window_start_date,
        min(window_end_date) as window_end_date,
        max(change_number) as change_number

    from ordered_sums
    group by task, model_version, run_kind, slice_name, slice_value, window_name

)

select * from final
