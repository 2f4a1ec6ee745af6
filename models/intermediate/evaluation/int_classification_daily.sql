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
        {{ slice_values() }}
        label_status = 'mature' as is_mature,
        label = 1 as is_positive,
        score >= threshold as is_predicted_positive,
        -- Its fourth power is still a number.
        greatest(score, 1e-75) as probability,
        {{ in_trillionths('score') }} as score_in_trillionths
    from {{ ref('int_labelled_predictions') }}
    where score is not null and {{ asks_for('binary') }}

),

{% if is_incremental() %}

-- Read from the table and not from the CTE, which would be written out if it were read twice.
touched_days as (

    {{ touched_days(
        ref('int_labelled_predictions'), ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

),

{% endif %}

selected_predictions as (

    {{ rows_of_touched(
        'predictions', 'touched_days', ['task', 'model_version', 'run_kind', 'prediction_date']
    ) }}

),

-- Those alike in every slice are added up first, so that each prediction is looked at once. What
-- is summed is rounded to whole trillionths: whole numbers add up to the same in any order.
combinations as (

    select
        task,
        model_version,
        run_kind,
        arm,
        {% for column in slice_columns() %}
        {{ column }},
        {% endfor %}

        count(*) as n_predictions,
        count(*) filter (where label_status = 'pending') as n_pending,
        count(*) filter (where is_mature) as n_mature,
        count(*) filter (where is_mature and is_positive) as n_positives,
        count(*) filter (where is_predicted_positive) as n_predicted_positives,
        count(*) filter (where is_mature and is_predicted_positive)
            as n_mature_predicted_positives,
        count(*) filter (where is_mature and is_positive and is_predicted_positive)
            as n_true_positives,
        sum(score_in_trillionths) as sum_score,
        sum(score_in_trillionths) filter (where is_predicted_positive)
            as sum_predicted_positive_score,
        sum(score_in_trillionths) filter (where is_mature) as sum_mature_score,
        sum({{ in_trillionths('probability * probability') }}) filter (where is_mature)
            as sum_mature_score_2,
        sum(
            {{ in_trillionths('probability * probability * probability') }}
        ) filter (where is_mature) as sum_mature_score_3,
        sum(
            {{ in_trillionths('probability * probability * probability * probability') }}
        ) filter (where is_mature) as sum_mature_score_4,
        sum(score_in_trillionths) filter (where is_mature and is_positive)
            as sum_positive_score,
        sum({{ in_trillionths(log_loss('score', 'is_positive')) }}) filter (where is_mature)
            as sum_log_loss,

        prediction_date

    from selected_predictions
    group by
        task,
        model_version,
        run_kind,
        arm,
        {% for column in slice_columns() %}
        {{ column }},
        {% endfor %}
        prediction_date

),

slices as (

    select
        combinations.task,
        combinations.model_version,
        combinations.run_kind,
        slices.slice_name,
        slices.slice_value,
        combinations.prediction_date,
        {% for name in [
            'n_predictions', 'n_pending', 'n_mature', 'n_positives', 'n_predicted_positives',
            'n_mature_predicted_positives', 'n_true_positives',
        ] %}
        cast(sum(combinations.{{ name }}) as bigint) as {{ name }},
        {% endfor %}
        {% for name in [
            'sum_score', 'sum_predicted_positive_score', 'sum_mature_score', 'sum_mature_score_2',
            'sum_mature_score_3', 'sum_mature_score_4', 'sum_positive_score', 'sum_log_loss',
        ] %}
        coalesce(sum(combinations.{{ name }}), 0) * 1e-12 as {{ name }}
        {%- if not loop.last %},{% endif %}
        {% endfor %}
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
        combinations.prediction_date

),

final as (

    select
        task,
        model_version,
        run_kind,
        slice_name,
        slice_value,

        n_predictions,
        n_pending,
        n_mature,
        n_positives,
        n_true_positives,
        n_mature_predicted_positives - n_true_positives as n_false_positives,
        n_mature - n_mature_predicted_positives - n_positives + n_true_positives
            as n_true_negatives,
        -- Predicted negative, and did convert.
        n_positives - n_true_positives as n_false_negatives,
        n_predicted_positives,
        sum_score,
        sum_predicted_positive_score,
        sum_mature_score,
        sum_mature_score_2,
        sum_mature_score_3,
        sum_mature_score_4,
        sum_positive_score,
        -- (score - label)², multiplied out.
        sum_mature_score_2 - 2 * sum_positive_score + n_positives as sum_squared_error,
        sum_log_loss,

        prediction_date,
        {{ next_change_number() }} as change_number

    from slices

)

select * from final
