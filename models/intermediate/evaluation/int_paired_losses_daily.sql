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

with days as (

    select * from {{ ref('int_paired_predictions_daily') }}
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}

),

-- Decimal numbers add up to the same in any order.
predictions as (

    select
        days.kind,
        days.task,
        days.model_version,
        days.other_version,
        days.prediction_date,
        case
            when days.kind = 'binary' and days.n_shared > 0
                then {{ log_loss('shared.answer', 'shared.label = 1') }}
        end as log_loss,
        case
            when days.kind = 'binary' and days.n_shared > 0
                then {{ log_loss('shared.other_answer', 'shared.label = 1') }}
        end as other_log_loss,
        {{ decimal_answer('shared.answer') }} - {{ decimal_answer('shared.label') }} as error,
        {{ decimal_answer('shared.other_answer') }} - {{ decimal_answer('shared.label') }}
            as other_error
    from days
    -- A day on which nothing is shared keeps a row of NULLs, so that its sums are 0.
    left join lateral {{ shared_predictions('days') }} as shared (label, answer, other_answer)
        on true

),

losses as (

    select
        task,
        model_version,
        other_version,
        prediction_date,
        'log_loss' as metric,
        round(cast(log_loss as numeric), 12) as loss,
        round(cast(other_log_loss as numeric), 12) as other_loss
    from predictions
    where kind = 'binary'

    union all

    select
        task,
        model_version,
        other_version,
        prediction_date,
        case kind when 'binary' then 'brier_score' else 'squared_error' end as metric,
        error * error as loss,
        other_error * other_error as other_loss
    from predictions

    union all

    select
        task,
        model_version,
        other_version,
        prediction_date,
        'absolute_error' as metric,
        abs(error) as loss,
        abs(other_error) as other_loss
    from predictions
    where kind = 'regression'

),

final as (

    select
        task,
        model_version,
        other_version,

        metric,
        count(loss) as n_shared,
        coalesce(sum(loss), 0) as sum_loss,
        coalesce(sum(other_loss), 0) as sum_other_loss,
        coalesce(sum((loss - other_loss) * (loss - other_loss)), 0) as sum_squared_difference,

        prediction_date,
        {{ next_change_number() }} as change_number

    from losses
    group by task, model_version, other_version, prediction_date, metric

)

select * from final
