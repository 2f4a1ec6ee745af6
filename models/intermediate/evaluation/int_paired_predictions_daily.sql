-- What two versions answered to the same questions. A day is one row: a pair would need more room
-- for its keys than for its numbers.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'other_version', 'prediction_date'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['task', 'model_version', 'other_version', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with predictions as (

    select * from {{ ref('int_labelled_predictions') }}
    where label_status = 'mature'

),

-- A second time, lest the first be copied before it is joined.
other_predictions as (

    select * from {{ ref('int_labelled_predictions') }}
    where label_status = 'mature'

),

classification as (

    select * from {{ ref('int_classification_daily') }}
    where slice_name = 'all'

),

regression as (

    select * from {{ ref('int_regression_daily') }}
    where slice_name = 'all'

),

version_days as (

    select
        'binary' as kind,
        task,
        model_version,
        prediction_date,
        max(change_number) as change_number
    from classification
    group by task, model_version, prediction_date

    union all

    select
        'regression' as kind,
        task,
        model_version,
        prediction_date,
        max(change_number) as change_number
    from regression
    group by task, model_version, prediction_date

),

-- Each two versions once, whichever of them is champion today.
pair_days as (

    select
        one.kind,
        one.task,
        one.model_version,
        other.model_version as other_version,
        one.prediction_date,
        greatest(one.change_number, other.change_number) as change_number
    from version_days as one
    inner join version_days as other
        on
            one.kind = other.kind
            and one.task = other.task
            and one.prediction_date = other.prediction_date
            and one.model_version < other.model_version

),

touched_days as (

    select pair_days.*
    from pair_days
    {% if is_incremental() %}
    left join {{ this }} as known
        on
            pair_days.task = known.task
            and pair_days.model_version = known.model_version
            and pair_days.other_version = known.other_version
            and pair_days.prediction_date = known.prediction_date
    where pair_days.change_number > coalesce(known.change_number, -1)
    {% endif %}

),

shared as (

    select
        touched_days.kind,
        touched_days.task,
        touched_days.model_version,
        touched_days.other_version,
        touched_days.prediction_date,
        one.prediction_id,
        one.label,
        coalesce(one.score, one.predicted_value) as answer,
        coalesce(other.score, other.predicted_value) as other_answer,
        row_number() over (
            partition by
                touched_days.task,
                touched_days.model_version,
                touched_days.other_version,
                one.entity_id,
                one.as_of_at
            -- A live prediction comes before a backtest of the same moment.
            order by one.run_kind desc, other.run_kind desc
        ) as preference
    from touched_days
    inner join predictions as one
        on
            touched_days.task = one.task
            and touched_days.model_version = one.model_version
            and touched_days.prediction_date = one.prediction_date
            -- All there are; the index wants to be asked for them.
            and one.run_kind in ('live', 'backtest')
            and (touched_days.kind = 'binary') = (one.score is not null)
            and (touched_days.kind = 'regression') = (one.predicted_value is not null)
    inner join other_predictions as other
        on
            touched_days.task = other.task
            and touched_days.other_version = other.model_version
            and touched_days.prediction_date = other.prediction_date
            and one.entity_id = other.entity_id
            and one.as_of_at = other.as_of_at
            and (touched_days.kind = 'binary') = (other.score is not null)
            and (touched_days.kind = 'regression') = (other.predicted_value is not null)

),

answers as (

    select
        kind,
        task,
        model_version,
        other_version,
        prediction_date,
        prediction_id,
        label,
        answer,
        other_answer
    from shared
    where preference = 1

    union all

    -- A day on which two versions share nothing has a row too: it says that it was looked at.
    select
        kind,
        task,
        model_version,
        other_version,
        prediction_date,
        null as prediction_id,
        null as label,
        null as answer,
        null as other_answer
    from touched_days

),

final as (

    select
        kind,
        task,
        model_version,
        other_version,

        count(prediction_id) as n_shared,
        array_agg(label order by prediction_id) filter (where prediction_id is not null)
            as labels,
        array_agg(answer order by prediction_id) filter (where prediction_id is not null)
            as answers,
        array_agg(other_answer order by prediction_id) filter (where prediction_id is not null)
            as other_answers,

        prediction_date,
        {{ next_change_number() }} as change_number

    from answers
    group by kind, task, model_version, other_version, prediction_date

)

select * from final
