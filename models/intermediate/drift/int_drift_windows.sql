{{ config(materialized='table', sql_header=before_adding_up()) }}

{% set most_days = 7 * [1, var('drift_window_days') // 7] | max %}

with cells as (

    select * from {{ ref('int_watched_cells_daily') }}
    -- The day that has not ended yet is no whole one.
    where is_reference or cell_date < {{ reporting_date(as_of()) }}

),

reference_dates as (

    select
        *,
        max(cell_date) filter (where is_reference) over (
            partition by task, model_version, watched_kind, feature
        ) as reference_date
    from cells

),

days as (

    select
        *,
        cell_date - reference_date as n_days_later,
        max(cell_date - reference_date) over (
            partition by task, model_version, watched_kind, feature
        ) as newest_day
    from reference_dates

),

-- Every window beside what lies in it, and what it is compared with. No two weekdays are alike, so
-- a window has whole weeks, all of them later than the reference. Laid out, not joined: of two
-- queries the planner does not know how few of their rows meet, and would compare each with each.
windows as (

    select
        days.*,
        windows.last_day,
        least({{ most_days }}, 7 * (windows.last_day / 7)) as n_days
    from days
    cross join
        lateral generate_series(
            case when days.is_reference then 7 else greatest(7, days.n_days_later) end,
            case
                when days.is_reference then days.newest_day
                else least(days.newest_day, days.n_days_later + {{ most_days - 1 }})
            end
        ) as windows (last_day)

),

counts as (

    select
        task,
        model_version,
        watched_kind,
        feature,
        reference_date,
        last_day,
        n_days,
        cell,
        coalesce(sum(n_values) filter (where not is_reference), 0) as n_recent,
        coalesce(sum(n_values) filter (where is_reference), 0) as n_reference,
        max(n_days_later) filter (where not is_reference) as newest_day
    from windows
    where is_reference or n_days_later > last_day - n_days
    group by
        task,
        model_version,
        watched_kind,
        feature,
        reference_date,
        last_day,
        n_days,
        cell

),

shares as (

    select
        *,
        {{ ratio('n_recent', 'sum(n_recent) over whole') }} as share,
        {{ ratio('n_reference', 'sum(n_reference) over whole') }} as reference_share,
        max(newest_day) over whole as newest_day_within
    from counts
    window whole as (partition by task, model_version, watched_kind, feature, last_day)

),

final as (

    select
        task,
        model_version,
        watched_kind,
        feature,

        n_days,
        cast(sum(n_reference) as bigint) as n_reference,
        cast(sum(n_recent) as bigint) as n_recent,
        {{ population_stability_index('share', 'reference_share') }}
            as population_stability_index,

        last_day = max(last_day) over (
            partition by task, model_version, watched_kind, feature
        ) as is_newest,
        reference_date + last_day as measured_date

    from shares
    -- A window ends on a day with values.
    where newest_day_within = last_day
    group by task, model_version, watched_kind, feature, reference_date, last_day, n_days

)

select * from final
