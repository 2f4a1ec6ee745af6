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

with weeks as (

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

-- With every slice that is in the week, those of its untouched days too.
slices as (

    select distinct
        weeks.*,
        histograms.slice_name,
        histograms.slice_value
    from weeks
    inner join {{ ref('int_score_histograms') }} as histograms
        on
            weeks.task = histograms.task
            and weeks.model_version = histograms.model_version
            and weeks.run_kind = histograms.run_kind
            -- By the days, for the index.
            and histograms.prediction_date
            between weeks.week_start_date and weeks.week_start_date + 6

),

-- One by one: of all at once, the keys of every bin would be hashed and compared.
final as (

    select
        slices.task,
        slices.model_version,
        slices.run_kind,
        slices.slice_name,
        slices.slice_value,
        histograms.*,
        slices.week_start_date
    from slices
    cross join
        lateral (
            select
                {{ histogram_arrays() }},
                max(change_number) as change_number
            from (
                select
                    bins.score_bin,
                    cast(sum(bins.n_predictions) as integer) as n_predictions,
                    cast(sum(bins.n_mature) as integer) as n_mature,
                    cast(sum(bins.n_positives) as integer) as n_positives,
                    cast(sum(bins.sum_score) as bigint) as sum_score,
                    cast(sum(bins.sum_mature_score) as bigint) as sum_mature_score,
                    max(histograms.change_number) as change_number
                from {{ ref('int_score_histograms') }} as histograms
                cross join lateral {{ histogram_bins('histograms') }}
                where
                    slices.task = histograms.task
                    and slices.model_version = histograms.model_version
                    and slices.run_kind = histograms.run_kind
                    and slices.slice_name = histograms.slice_name
                    and slices.slice_value = histograms.slice_value
                    and histograms.prediction_date
                    between slices.week_start_date and slices.week_start_date + 6
                group by bins.score_bin
            ) as bins
        ) as histograms

)

select * from final
