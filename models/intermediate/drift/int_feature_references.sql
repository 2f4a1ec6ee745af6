{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key=['task', 'model_version'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        post_hook='analyze {{ this }}',
        indexes=[
            {'columns': ['task', 'model_version', 'feature'], 'unique': true},
        ]
    )
}}

-- What a version in use learned from, summarised once: the cells into which the values of later
-- days are counted.
with versions as (

    select * from {{ ref('int_drift_versions') }}

),

feature_rows as (

    select
        features_model,
        entity_id,
        as_of_at
    from {{ ref('int_feature_rows') }}

),

feature_values as (

    select * from {{ ref('int_feature_values') }}

),

{% if is_incremental() %}

known_versions as (

    select
        task,
        model_version,
        max(n_training_rows) as n_training_rows
    from {{ this }}
    group by task, model_version

),

{% endif %}

-- New, or a row of the window written since, or gone. A version that went out of use comes without
-- a window.
touched_versions as (

    {% if is_incremental() %}
    select
        coalesce(versions.task, known_versions.task) as task,
        coalesce(versions.model_version, known_versions.model_version) as model_version,
        versions.features_model,
        versions.n_training_rows,
        versions.sampled_share,
        versions.trained_from,
        versions.trained_through
    from versions
    full outer join known_versions
        on
            versions.task = known_versions.task
            and versions.model_version = known_versions.model_version
    where
        versions.n_training_rows is distinct from known_versions.n_training_rows
        or versions.change_number > {{ newest_change_number(this) }}
    {% else %}
    select * from versions
    {% endif %}

),

-- The digest draws the same entities every time, each with all its rows.
sizes as (

    select
        touched_versions.task,
        touched_versions.model_version,
        count(*) as n_rows
    from touched_versions
    inner join feature_rows
        on
            touched_versions.features_model = feature_rows.features_model
            and touched_versions.trained_from <= feature_rows.as_of_at
            and touched_versions.trained_through >= feature_rows.as_of_at
            and touched_versions.sampled_share > {{ digest_share('feature_rows.entity_id') }}
    group by touched_versions.task, touched_versions.model_version

),

sampled_values as (

    select
        touched_versions.task,
        touched_versions.model_version,
        feature_values.feature,
        feature_values.value_text,
        feature_values.value_number
    from touched_versions
    inner join feature_values
        on
            touched_versions.features_model = feature_values.features_model
            and touched_versions.trained_from <= feature_values.as_of_at
            and touched_versions.trained_through >= feature_values.as_of_at
            and touched_versions.sampled_share > {{ digest_share('feature_values.entity_id') }}
    -- Tells before a row is read whether any version can have drawn it.
    where
        {{ is_one_of(
            'feature_values.features_model',
            'select touched.features_model from touched_versions as touched'
        ) }}
        and feature_values.as_of_at
        >= (select min(touched.trained_from) from touched_versions as touched)
        and feature_values.as_of_at
        <= (select max(touched.trained_through) from touched_versions as touched)
        and {{ digest_share('feature_values.entity_id') }}
        < (select max(touched.sampled_share) from touched_versions as touched)

),

-- As in training, one text among the values makes all of them texts.
features as (

    select
        task,
        model_version,
        feature,
        count(*) as n_known,
        count(*) = count(value_number) as is_number,
        {{ percentiles('value_number') }} as edges
    from sampled_values
    group by task, model_version, feature

),

texts as (

    select
        sampled_values.task,
        sampled_values.model_version,
        sampled_values.feature,
        sampled_values.value_text,
        count(*) as n_values
    from sampled_values
    inner join features
        on
            sampled_values.task = features.task
            and sampled_values.model_version = features.model_version
            and sampled_values.feature = features.feature
    where not features.is_number
    group by
        sampled_values.task,
        sampled_values.model_version,
        sampled_values.feature,
        sampled_values.value_text

),

-- The commonest first. Rarer texts share a cell, for each by itself would drift by chance.
levels as (

    select
        texts.task,
        texts.model_version,
        texts.feature,
        array_agg(texts.value_text order by texts.n_values desc, texts.value_text asc) as levels
    from texts
    inner join sizes
        on
            texts.task = sizes.task
            and texts.model_version = sizes.model_version
            and texts.n_values >= 0.05 * sizes.n_rows
    group by texts.task, texts.model_version, texts.feature

),

summaries as (

    select
        features.task,
        features.model_version,
        features.feature,
        case when features.is_number then 'number' else 'text' end as feature_kind,
        sizes.n_rows,
        case when features.is_number then features.edges end as edges,
        levels.levels
    from features
    inner join sizes
        on
            features.task = sizes.task
            and features.model_version = sizes.model_version
            -- As in training, what hardly any row has is no feature.
            and features.n_known >= 0.001 * sizes.n_rows
    left join levels
        on
            features.task = levels.task
            and features.model_version = levels.model_version
            and features.feature = levels.feature

),

-- A version of which nothing is left comes with empty columns: that row is how replace_touched
-- learns of it.
final as (

    select
        touched_versions.task,
        touched_versions.model_version,
        summaries.feature,
        summaries.feature_kind,

        touched_versions.n_training_rows,
        summaries.n_rows,

        summaries.edges,
        summaries.levels,

        case when summaries.feature is not null then {{ next_change_number() }} end
            as change_number

    from touched_versions
    left join summaries
        on
            touched_versions.task = summaries.task
            and touched_versions.model_version = summaries.model_version
    {% if not is_incremental() %}
    where summaries.feature is not null
    {% endif %}

)

select * from final
