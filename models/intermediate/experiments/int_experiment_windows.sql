{{
    config(
        materialized='table',
        post_hook='analyze {{ this }} (experiment, arm, slice_name, window_name)'
    )
}}

{%- set key = 'experiment, arm, slice_name, slice_value' -%}
with statistics as (

    select * from {{ ref('int_experiment_daily') }}

),

score_bins as (

    select * from {{ ref('int_experiment_score_totals') }}

),

-- An arm that nobody was assigned to on a day still has a total up to that day.
days as (

    select
        experiment,
        assignment_date,
        min(assignment_date) over (partition by experiment) as first_date,
        max(assignment_date) over (partition by experiment) as last_date
    from statistics
    group by experiment, assignment_date

),

cells as (

    select distinct {{ key }}
    from statistics

),

totals_to_date as (

    select
        cells.experiment,
        cells.arm,
        cells.slice_name,
        cells.slice_value,
        days.assignment_date,
        {% for name in experiment_sums() %}
        sum(statistics.{{ name }}) over (
            partition by cells.experiment, cells.arm, cells.slice_name, cells.slice_value
            order by days.assignment_date
        ) as {{ name }},
        {% endfor %}
        days.first_date
    from cells
    inner join days
        on cells.experiment = days.experiment
    left join statistics
        on
            cells.experiment = statistics.experiment
            and cells.arm = statistics.arm
            and cells.slice_name = statistics.slice_name
            and cells.slice_value = statistics.slice_value
            and days.assignment_date = statistics.assignment_date

),

people_by_score as (

    select
        experiment,
        score_bin,
        sum(n_mature) as n_mature
    from score_bins
    group by experiment, score_bin

),

cumulated as (

    select
        *,
        sum(n_mature) over (partition by experiment order by score_bin) as n_through,
        sum(n_mature) over (partition by experiment) as n_all
    from people_by_score

),

-- A bin goes as a whole to the tenth that the middle of its people belongs to. Bins in which
-- everybody is pending would share the middle of their neighbour.
deciles as (

    select
        experiment,
        score_bin,
        cast(1 + least(9, div(5 * (2 * n_through - n_mature), n_all)) as integer) as score_decile
    from cumulated
    where n_all > 0

),

by_score as (

    select
        score_bins.experiment,
        score_bins.arm,
        'score_decile' as slice_name,
        {% for name in experiment_sums() %}
        cast(sum(score_bins.{{ name }}) as {{ type_of_sum(name) }}) as {{ name }},
        {% endfor %}
        cast(deciles.score_decile as text) as slice_value
    from score_bins
    inner join deciles
        on
            score_bins.experiment = deciles.experiment
            and score_bins.score_bin = deciles.score_bin
    group by score_bins.experiment, score_bins.arm, deciles.score_decile

),

by_week as (

    select
        experiment,
        arm,
        'assignment_week' as slice_name,
        {% for name in experiment_sums() %}
        cast(sum({{ name }}) as {{ type_of_sum(name) }}) as {{ name }},
        {% endfor %}
        cast(cast({{ dbt.date_trunc('week', 'assignment_date') }} as date) as text) as slice_value
    from statistics
    where slice_name = 'all'
    group by experiment, arm, {{ dbt.date_trunc('week', 'assignment_date') }}

),

of_all_time as (

    select
        {% for name in experiment_sums() %}
        cast(sum({{ name }}) as {{ type_of_sum(name) }}) as {{ name }},
        {% endfor %}
        {{ key }}
    from statistics
    group by {{ key }}

),

totals as (

    {% for name in ['of_all_time', 'by_score', 'by_week'] %}
    select
        {{ key }},
        'all' as window_name,
        {{ experiment_sums() | join(', ') }}
    from {{ name }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

final as (

    select
        {{ key }},
        'day' as window_name,
        {{ experiment_sums() | join(', ') }},
        assignment_date as window_start_date,
        assignment_date as window_end_date
    from statistics

    union all

    select
        {{ key }},
        'to_date' as window_name,
        {% for name in experiment_sums() %}
        cast(coalesce({{ name }}, 0) as {{ type_of_sum(name) }}) as {{ name }},
        {% endfor %}
        first_date as window_start_date,
        assignment_date as window_end_date
    from totals_to_date

    union all

    select
        totals.*,
        days.first_date as window_start_date,
        days.last_date as window_end_date
    from totals
    inner join days
        on totals.experiment = days.experiment and days.assignment_date = days.last_date

)

select * from final
