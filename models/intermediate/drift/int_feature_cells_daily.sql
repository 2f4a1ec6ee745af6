{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key=['task', 'model_version', 'feature_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {
                'columns': ['task', 'model_version', 'feature_date', 'feature', 'cell'],
                'unique': true,
            },
            {'columns': ['change_number']},
        ]
    )
}}

with versions as (

    select * from {{ ref('int_drift_versions') }}

),

features as (

    select * from {{ ref('int_feature_references') }}

),

arrivals as (

    select
        features_model,
        {{ reporting_date('as_of_at') }} as feature_date,
        count(*) as n_rows,
        max(change_number) as change_number
    from {{ ref('int_feature_rows') }}
    group by features_model, {{ reporting_date('as_of_at') }}

),

samples as (

    select
        task,
        model_version,
        max(n_rows) as n_rows,
        max(change_number) as change_number
    from features
    group by task, model_version

),

days as (

    -- The reference stands on the last day of the training window, alone: the days after it are
    -- compared with it.
    select
        versions.*,
        versions.trained_through_date as feature_date,
        true as is_reference,
        samples.n_rows,
        samples.change_number as newest_change_number
    from versions
    inner join samples
        on
            versions.task = samples.task
            and versions.model_version = samples.model_version

    union all

    select
        versions.*,
        arrivals.feature_date,
        false as is_reference,
        arrivals.n_rows,
        greatest(samples.change_number, arrivals.change_number) as newest_change_number
    from versions
    inner join samples
        on
            versions.task = samples.task
            and versions.model_version = samples.model_version
    inner join arrivals
        on
            versions.features_model = arrivals.features_model
            and versions.trained_through_date < arrivals.feature_date

),

{% if is_incremental() %}

known_days as (

    select
        task,
        model_version,
        feature_date,
        max(n_rows) as n_rows
    from {{ this }}
    group by task, model_version, feature_date

),

{% endif %}

-- A row written since, or gone: then there are fewer. A day or a version that is gone as a whole
-- comes without its columns.
touched_days as (

    {% if is_incremental() %}
    select
        coalesce(days.task, known_days.task) as task,
        coalesce(days.model_version, known_days.model_version) as model_version,
        coalesce(days.feature_date, known_days.feature_date) as feature_date,
        days.features_model,
        days.is_reference,
        days.n_rows,
        days.sampled_share,
        days.trained_from,
        days.trained_through
    from days
    full outer join known_days
        on
            days.task = known_days.task
            and days.model_version = known_days.model_version
            and days.feature_date = known_days.feature_date
    where
        days.n_rows is distinct from known_days.n_rows
        or days.newest_change_number > {{ newest_change_number(this) }}
    {% else %}
    select * from days
    {% endif %}

),

-- Hashing one number for each value is quicker than hashing all that it stands for.
numbered_days as (

    select
        *,
        row_number() over (order by task, model_version, feature_date) as day_number
    from touched_days

),

touched_features as (

    select
        numbered_days.*,
        features.feature,
        features.feature_kind,
        features.edges,
        features.levels
    from numbered_days
    inner join features
        on
            numbered_days.task = features.task
            and numbered_days.model_version = features.model_version
    where numbered_days.n_rows is not null

),

touched_samples as (

    select * from touched_days
    where is_reference

),

touched_later_days as (

    select * from touched_days
    where not is_reference

),

-- Whether anybody asks for a row is told before it is unfolded, and who does afterwards: offset 0
-- keeps the planner from unfolding it for each feature of each version.
learned_values as (

    select * from {{ ref('int_feature_values') }}
    where
        {{ is_one_of(
            'features_model', 'select samples.features_model from touched_samples as samples'
        ) }}
        and as_of_at >= (select min(samples.trained_from) from touched_samples as samples)
        and as_of_at <= (select max(samples.trained_through) from touched_samples as samples)
        and {{ digest_share('entity_id') }}
        < (select max(samples.sampled_share) from touched_samples as samples)
    offset 0 -- noqa: AM09

),

later_values as (

    select * from {{ ref('int_feature_values') }}
    where
        {{ is_one_of(
            'features_model', 'select days.features_model from touched_later_days as days'
        ) }}
        and as_of_at
        >= (select {{ midnight('min(days.feature_date)') }} from touched_later_days as days)
    offset 0 -- noqa: AM09

),

touched_values as (

    select
        touched_features.day_number,
        touched_features.feature,
        touched_features.feature_kind,
        touched_features.edges,
        touched_features.levels,
        learned_values.value_text,
        learned_values.value_number
    from learned_values
    inner join touched_features
        on
            learned_values.features_model = touched_features.features_model
            and learned_values.feature = touched_features.feature
            and learned_values.as_of_at >= touched_features.trained_from
            and learned_values.as_of_at <= touched_features.trained_through
            and {{ digest_share('learned_values.entity_id') }} < touched_features.sampled_share
    where touched_features.is_reference

    union all

    select
        touched_features.day_number,
        touched_features.feature,
        touched_features.feature_kind,
        touched_features.edges,
        touched_features.levels,
        later_values.value_text,
        later_values.value_number
    from later_values
    inner join touched_features
        on
            later_values.features_model = touched_features.features_model
            and later_values.feature = touched_features.feature
            and later_values.feature_date = touched_features.feature_date
    where not touched_features.is_reference

),

placed_values as (

    select
        *,
        case
            when feature_kind = 'text' then coalesce(array_position(levels, value_text), 0)
            else width_bucket(cast(value_number as double precision), edges)
        end as cell
    from touched_values

),

counts as (

    select
        day_number,
        feature,
        cell,
        count(*) as n_values,
        count(*) filter (where cast(value_number as double precision) = edges[cell]) as n_on_edge,
        sum(value_number) as sum_value
    from placed_values
    -- A text among numbers is none: it counts as missing, as in training.
    where cell is not null
    group by day_number, feature, cell

),

-- What no cell holds is missing. Added up and not joined: the planner knows nothing of these
-- rows, takes them to be few, and would compare each with each.
remainders as (

    select
        day_number,
        feature,
        n_rows as n_values
    from touched_features

    union all

    select
        day_number,
        feature,
        -n_values as n_values
    from counts

),

cells as (

    select * from counts

    union all

    select
        day_number,
        feature,
        -1 as cell,
        cast(sum(n_values) as bigint) as n_values,
        0 as n_on_edge,
        null as sum_value
    from remainders
    group by day_number, feature

),

final as (

    select
        numbered_days.task,
        numbered_days.model_version,
        cells.feature,
        numbered_days.is_reference,

        cells.cell,
        numbered_days.n_rows,
        cells.n_values,
        cells.n_on_edge,
        cells.sum_value,

        numbered_days.feature_date,
        case when cells.cell is not null then {{ next_change_number() }} end as change_number

    from numbered_days
    left join cells
        on
            numbered_days.day_number = cells.day_number
            and cells.n_values > 0

)

select * from final
