-- All versions of a task are compared over the same days: a window ends on the newest day whose
-- labels have all come of age, whichever version predicted on it.
with statistics as (

    select * from {{ ref('int_classification_daily') }}
    where slice_name = 'all'

),

days as (

    select
        task,
        run_kind,
        prediction_date,
        sum(n_mature) > 0 and sum(n_pending) = 0 as is_of_age
    from statistics
    group by task, run_kind, prediction_date

),

ends as (

    select
        task,
        run_kind,
        min(prediction_date) as first_date,
        max(prediction_date) as last_date,
        max(prediction_date) filter (where is_of_age) as newest_mature_date
    from days
    group by task, run_kind

),

windows as (

    {% for window_name, n_days in [('last_day', 1), ('last_7_days', 7), ('last_28_days', 28)] %}
    select
        task,
        run_kind,
        '{{ window_name }}' as window_name,
        cast({{ dbt.dateadd('day', 1 - n_days, 'newest_mature_date') }} as date)
            as window_start_date,
        newest_mature_date as window_end_date
    from ends
    where newest_mature_date is not null

    union all

    {% endfor %}
    select
        task,
        run_kind,
        'all_time' as window_name,
        first_date as window_start_date,
        last_date as window_end_date
    from ends

)

select * from windows
