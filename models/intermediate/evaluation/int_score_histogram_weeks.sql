{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'week_start_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['task', 'model_version', 'run_kind', 'week_start_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with histograms as (

    select
        *,
        {{ week_start('prediction_date') }} as week_start_date
    from {{ ref('int_score_histograms') }}

),

-- Read from the table and not from the CTE, which would be written out if it were read twice.
weeks as (

    select distinct
        task,
        model_version,
        run_kind,
        {{ week_start('prediction_date') }} as week_start_date
    from {{ ref('int_score_histograms') }}
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}

),

bins as (

    select
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,
        bins.score_bin,
        sum(bins.n_predictions) as n_predictions,
        sum(bins.n_mature) as n_mature,
        sum(bins.n_positives) as n_positives,
        sum(bins.sum_score) as sum_score,
        sum(bins.sum_mature_score) as sum_mature_score,
        histograms.week_start_date,
        max(histograms.change_number) as change_number
    from weeks
    inner join histograms
        on
            weeks.task = histograms.task
            and weeks.model_version = histograms.model_version
            and weeks.run_kind = histograms.run_kind
            -- By the days, for the index.
            and histograms.prediction_date
            between weeks.week_start_date and weeks.week_start_date + 6
    cross join lateral {{ histogram_bins('histograms') }}
    group by
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,
        histograms.week_start_date,
        bins.score_bin

),

-- As in `int_score_histogram_windows`: sorted by bin alone, then hashed.
ordered_bins as (

    select * from bins
    order by score_bin

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        array_agg(score_bin) as score_bins,
        array_agg(n_predictions) as n_predictions,
        array_agg(n_mature) as n_mature,
        array_agg(n_positives) as n_positives,
        array_agg(sum_score) as sum_score,
        array_agg(sum_mature_score) as sum_mature_score,

        week_start_date,
        max(change_number) as change_number

    from ordered_bins
    group by task, model_version, run_kind, slice_name, slice_value, week_start_date

)

select * from final
