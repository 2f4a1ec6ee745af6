-- A histogram is one row: a bin would need more room for its keys than for its numbers.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        post_hook='analyze {{ this }}',
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
        {{ slice_values() }} as slice_values,
        {{ histogram_bin('score') }} as score_bin,
        label_status = 'mature' as is_mature,
        {{ in_trillionths('score') }} as score_in_trillionths
    from {{ ref('int_labelled_predictions') }}
    where score is not null and {{ asks_for('binary') }}

),

{% if is_incremental() %}

-- Read from the table and not from the CTE, which would be written out if it were read twice.
touched_days as (

    select distinct
        task,
        model_version,
        run_kind,
        prediction_date
    from {{ ref('int_labelled_predictions') }}
    where change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_predictions as (

    {% if is_incremental() %}
    -- Day by day through the index: left to itself, the planner would read the whole table.
    select of_day.*
    from touched_days
    cross join
        lateral (
            select predictions.*
            from predictions
            where
                predictions.task = touched_days.task
                and predictions.model_version = touched_days.model_version
                and predictions.run_kind = touched_days.run_kind
                and predictions.prediction_date = touched_days.prediction_date
            offset 0 -- noqa: AM09
        ) as of_day
    {% else %}
    select * from predictions
    {% endif %}

),

-- Those of one bin that are alike in every slice are added up first, so that each prediction is
-- looked at once.
combinations as (

    select
        task,
        model_version,
        run_kind,
        slice_values,
        score_bin,

        count(*) as n_predictions,
        count(*) filter (where is_mature) as n_mature,
        count(*) filter (where is_mature and label = 1) as n_positives,
        sum(score_in_trillionths) as sum_score,
        coalesce(sum(score_in_trillionths) filter (where is_mature), 0) as sum_mature_score,

        prediction_date

    from selected_predictions
    group by
        task,
        model_version,
        run_kind,
        slice_values,
        prediction_date,
        score_bin

),

bins as (

    select
        combinations.task,
        combinations.model_version,
        combinations.run_kind,
        slices.slice_name,
        slices.slice_value,

        combinations.score_bin,
        cast(sum(combinations.n_predictions) as integer) as n_predictions,
        cast(sum(combinations.n_mature) as integer) as n_mature,
        cast(sum(combinations.n_positives) as integer) as n_positives,
        cast(sum(combinations.sum_score) as bigint) as sum_score,
        cast(sum(combinations.sum_mature_score) as bigint) as sum_mature_score,

        combinations.prediction_date

    from combinations
    cross join lateral {{ slices_of('combinations') }} as slices (slice_name, slice_value)
    -- Who led to no assignment stands in no slice `arm`.
    where slices.slice_value is not null
    group by
        combinations.task,
        combinations.model_version,
        combinations.run_kind,
        slices.slice_name,
        slices.slice_value,
        combinations.prediction_date,
        combinations.score_bin

),

-- Sorted by bin alone and then hashed: sorting by all the keys would take longer than all the rest.
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

        prediction_date,
        {{ next_change_number() }} as change_number

    from ordered_bins
    group by task, model_version, run_kind, slice_name, slice_value, prediction_date

)

select * from final
