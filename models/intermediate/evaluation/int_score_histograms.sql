-- A histogram is one row: a bin would need more room for its keys than for its numbers. Analyzed
-- without the arrays, whose every element Postgres would look at.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        post_hook=(
            'analyze {{ this }} '
            ~ '(task, model_version, run_kind, prediction_date, change_number)'
        ),
        indexes=[
            {'columns': ['task', 'model_version', 'run_kind', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with predictions as (

    -- A score is no answer to a task that asks for something else.
    select
        *,
        {{ slice_values() }}
        {{ histogram_bin('score') }} as score_bin,
        label_status = 'mature' as is_mature,
        {{ in_trillionths('score') }} as score_in_trillionths
    from {{ ref('int_labelled_predictions') }}
    where score is not null and {{ asks_for('binary') }}

),

-- Read from the table and not from the CTE, which would be written out if it were read twice.
days as (

    {{ touched_days(
        ref('int_labelled_predictions'), ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

),

-- Day by day through the index: the groups of a day are few enough to stay near the processor, and
-- have no key but slices and bin.
final as (

    select
        days.task,
        days.model_version,
        days.run_kind,
        histograms.slice_name,
        histograms.slice_value,

        histograms.score_bins,
        histograms.n_predictions,
        histograms.n_mature,
        histograms.n_positives,
        histograms.sum_score,
        histograms.sum_mature_score,

        days.prediction_date,
        {{ next_change_number() }} as change_number

    from days
    cross join
        lateral (

            -- Those of one bin that are alike in every slice are added up first, so that each
            -- prediction is looked at once.
            with combinations as (

                select
                    days.task,
                    predictions.arm,
                    {% for column in slice_columns() %}
                    predictions.{{ column }},
                    {% endfor %}
                    predictions.score_bin,
                    count(*) as n_predictions,
                    count(*) filter (where predictions.is_mature) as n_mature,
                    count(*) filter (where predictions.is_mature and predictions.label = 1)
                        as n_positives,
                    sum(predictions.score_in_trillionths) as sum_score,
                    coalesce(
                        sum(predictions.score_in_trillionths) filter (where predictions.is_mature),
                        0
                    ) as sum_mature_score
                from (
                    select predictions.*
                    from predictions
                    where
                        predictions.task = days.task
                        and predictions.model_version = days.model_version
                        and predictions.run_kind = days.run_kind
                        and predictions.prediction_date = days.prediction_date
                    -- By itself: pulled up, an expression is computed in each place that uses it.
                    offset 0 -- noqa: AM09
                ) as predictions
                group by
                    predictions.arm,
                    {% for column in slice_columns() %}
                    predictions.{{ column }},
                    {% endfor %}
                    predictions.score_bin

            ),

            bins as (

                select
                    slices.slice_name,
                    slices.slice_value,
                    combinations.score_bin,
                    cast(sum(combinations.n_predictions) as integer) as n_predictions,
                    cast(sum(combinations.n_mature) as integer) as n_mature,
                    cast(sum(combinations.n_positives) as integer) as n_positives,
                    cast(sum(combinations.sum_score) as bigint) as sum_score,
                    cast(sum(combinations.sum_mature_score) as bigint) as sum_mature_score
                from combinations
                cross join
                    lateral {{ slices_of('combinations') }} as slices (slice_name, slice_value)
                -- Who led to no assignment stands in no slice `arm`.
                where slices.slice_value is not null
                group by slices.slice_name, slices.slice_value, combinations.score_bin

            )

            select
                slice_name,
                slice_value,
                {{ histogram_arrays() }}
            from bins
            group by slice_name, slice_value

        ) as histograms

)

select * from final
