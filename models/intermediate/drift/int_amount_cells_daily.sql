{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['task', 'model_version', 'run_kind', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with versions as (

    -- An amount is no answer to a task that asks for something else.
    select * from {{ ref('dim_model_versions') }}
    where {{ asks_for('regression') }}

),

-- Version by version through the index. Without a backtest there is nothing to be compared with.
deciles as (

    select
        versions.task,
        versions.model_version,
        backtest.edges,
        backtest.change_number
    from versions
    cross join
        lateral (
            select
                percentile_cont(
                    array[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
                ) within group (order by predictions.predicted_value) as edges,
                max(predictions.change_number) as change_number
            from {{ ref('int_labelled_predictions') }} as predictions
            where
                versions.task = predictions.task
                and versions.model_version = predictions.model_version
                and predictions.run_kind = 'backtest'
        ) as backtest
    where backtest.edges is not null

),

touched_days as (

    -- Of a version whose backtest changed every day.
    select distinct
        predictions.task,
        predictions.model_version,
        predictions.run_kind,
        predictions.prediction_date
    from deciles
    inner join {{ ref('int_labelled_predictions') }} as predictions
        on
            deciles.task = predictions.task
            and deciles.model_version = predictions.model_version
    {% if is_incremental() %}
    where deciles.change_number > {{ newest_change_number(this) }}

    union distinct

    select
        predictions.task,
        predictions.model_version,
        predictions.run_kind,
        predictions.prediction_date
    from {{ ref('int_labelled_predictions') }} as predictions
    where predictions.change_number > {{ newest_change_number(this) }}
    {% endif %}

),

answers as (

    select
        predictions.task,
        predictions.model_version,
        predictions.run_kind,
        width_bucket(predictions.predicted_value, deciles.edges) + 1 as tenth,
        predictions.prediction_date
    from touched_days
    inner join deciles
        on
            touched_days.task = deciles.task
            and touched_days.model_version = deciles.model_version
    inner join {{ ref('int_labelled_predictions') }} as predictions
        on
            touched_days.task = predictions.task
            and touched_days.model_version = predictions.model_version
            and touched_days.run_kind = predictions.run_kind
            and touched_days.prediction_date = predictions.prediction_date
    where predictions.predicted_value is not null

),

final as (

    select
        task,
        model_version,
        run_kind,

        tenth,
        count(*) as n_predictions,

        prediction_date,
        {{ next_change_number() }} as change_number

    from answers
    group by task, model_version, run_kind, prediction_date, tenth

)

select * from final
