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

slices as (

    select distinct
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value
    from {{ ref('int_score_histogram_weeks') }}

),

-- One by one, as in `int_score_histogram_weeks`. A window is its whole weeks, and the days around
-- them: all time has few weeks and many days.
final as (

    select
        slices.task,
        slices.model_version,
        slices.run_kind,
        slices.slice_name,
        slices.slice_value,
        windows.window_name,
        histograms.*,
        windows.window_start_date,
        windows.window_end_date
    from slices
    inner join windows
        on
            slices.task = windows.task
            and slices.run_kind = windows.run_kind
    cross join
        lateral (

            with parts as (

                select
                    bins.*,
                    weeks.change_number
                from {{ ref('int_score_histogram_weeks') }} as weeks
                cross join lateral {{ histogram_bins('weeks') }}
                where
                    weeks.task = slices.task
                    and weeks.model_version = slices.model_version
                    and weeks.run_kind = slices.run_kind
                    and weeks.slice_name = slices.slice_name
                    and weeks.slice_value = slices.slice_value
                    and weeks.week_start_date
                    between windows.window_start_date and windows.window_end_date - 6

                union all

                select
                    days.score_bin,
                    days.n_predictions,
                    days.n_mature,
                    days.n_positives,
                    days.sum_score,
                    days.sum_mature_score,
                    days.change_number
                from {{ ref('int_score_histogram_daily') }} as days
                where
                    days.task = slices.task
                    and days.model_version = slices.model_version
                    and days.run_kind = slices.run_kind
                    and days.slice_name = slices.slice_name
                    and days.slice_value = slices.slice_value
                    and days.prediction_date
                    between windows.window_start_date and windows.window_end_date
                    and not (
                        {{ week_start('days.prediction_date') }}
                        between windows.window_start_date and windows.window_end_date - 6
                    )

            ),

            bins as (

                select
                    score_bin,
                    cast(sum(n_predictions) as integer) as n_predictions,
                    cast(sum(n_mature) as integer) as n_mature,
                    cast(sum(n_positives) as integer) as n_positives,
                    -- Whole numbers up to here: added up in whatever order, the same double.
                    cast(sum(sum_score) as double precision) as sum_score,
                    cast(sum(sum_mature_score) as double precision) as sum_mature_score,
                    max(change_number) as change_number
                from parts
                group by score_bin

            )

            select
                {{ histogram_arrays() }},
                max(change_number) as change_number
            from bins

        ) as histograms
    -- Nobody of the slice may have been predicted on in the window.
    where histograms.score_bins is not null

)

select * from final
