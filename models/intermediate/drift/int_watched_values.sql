-- The features that a champion relies on most, one value a row: those of the rows it learned from
-- and those of late. Samples are enough for shares of a tenth, and the digest draws the same ones
-- every time.
with models as (

    select * from {{ ref('stg_scoring__models') }}
    where status = 'champion' and judged_through is not null

),

importances as (

    select
        *,
        row_number() over (
            partition by task, model_version
            order by mean_importance desc, feature asc
        ) as importance_rank
    from {{ ref('stg_scoring__feature_importances') }}

),

watched_features as (

    select
        task,
        model_version,
        feature,
        -- A feature `column.key` is a key of a column that holds JSON; the key may have more dots.
        split_part(feature, '.', 1) as json_column,
        substr(feature, strpos(feature, '.') + 1) as json_key
    from importances
    where importance_rank <= {{ var('watched_features') }} and mean_importance > 0

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

feature_rows as (

    select * from {{ ref('int_feature_rows') }}

),

predictions as (

    select * from {{ ref('int_labelled_predictions') }}

),

windows as (

    select
        models.task,
        models.model_version,
        feature_rows.entity_id,
        feature_rows.as_of_at,
        feature_rows.document,
        feature_rows.as_of_at <= models.trained_through as is_reference
    from models
    inner join tasks
        on models.task = tasks.task
    inner join feature_rows
        on tasks.features_model = feature_rows.features_model
    where
        feature_rows.as_of_at between models.trained_from and models.trained_through
        or feature_rows.as_of_at
        > {{ as_of() }} - {{ interval_of(var('drift_window_days'), 'day') }}

),

numbered as (

    select
        *,
        row_number() over (
            partition by task, model_version, is_reference
            order by {{ dbt.hash('entity_id') }}, as_of_at
        ) as sample_number
    from windows

),

final as (

    select
        numbered.task,
        numbered.model_version,
        'feature' as watched_kind,
        watched_features.feature,
        numbered.entity_id,
        numbered.as_of_at,
        numbered.is_reference,
        coalesce(
            {{ json_text('numbered.document', 'watched_features.feature') }},
            {{ json_text(
                '(numbered.document -> watched_features.json_column)', 'watched_features.json_key'
            ) }}
        ) as value_text,
        coalesce(
            {{ json_number('numbered.document', 'watched_features.feature') }},
            {{ json_number(
                '(numbered.document -> watched_features.json_column)', 'watched_features.json_key'
            ) }}
        ) as value_number
    from numbered
    inner join watched_features
        on
            numbered.task = watched_features.task
            and numbered.model_version = watched_features.model_version
    where numbered.sample_number <= 5000

    union all

    -- What the champion answers is watched like a feature.
    select
        models.task,
        models.model_version,
        'answer' as watched_kind,
        'answer' as feature,
        predictions.entity_id,
        predictions.as_of_at,
        predictions.run_kind = 'backtest' as is_reference,
        cast(null as text) as value_text,
        cast(coalesce(predictions.score, predictions.predicted_value) as numeric) as value_number
    from models
    inner join predictions
        on
            models.task = predictions.task
            and models.model_version = predictions.model_version
    where
        predictions.run_kind = 'backtest'
        or predictions.as_of_at > {{ as_of() }} - {{ interval_of(var('drift_window_days'), 'day') }}

)

select * from final
