{{
    config(
        materialized='incremental',
        incremental_strategy='replace_touched',
        unique_key=['task', 'model_version', 'feature_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['task', 'model_version', 'feature_date']},
        ]
    )
}}

with features as (

    select * from {{ ref('int_feature_references') }}

),

cells as (

    select * from {{ ref('int_feature_cells_daily') }}

),

days as (

    select
        task,
        model_version,
        feature_date,
        n_rows,
        max(change_number) as newest_change_number
    from cells
    where not is_reference
    group by task, model_version, feature_date, n_rows

),

{% if is_incremental() %}

known_days as (

    select distinct
        task,
        model_version,
        feature_date
    from {{ this }}

),

{% endif %}

-- A day that is gone comes without rows.
touched_days as (

    {% if is_incremental() %}
    select
        coalesce(days.task, known_days.task) as task,
        coalesce(days.model_version, known_days.model_version) as model_version,
        coalesce(days.feature_date, known_days.feature_date) as feature_date,
        days.n_rows
    from days
    full outer join known_days
        on
            days.task = known_days.task
            and days.model_version = known_days.model_version
            and days.feature_date = known_days.feature_date
    where
        days.task is null
        or days.newest_change_number > {{ newest_change_number(this) }}
    {% else %}
    select * from days
    {% endif %}

),

-- The day's cells, and below them those of the reference, which every day is compared with.
sides as (

    select
        touched_days.task,
        touched_days.model_version,
        touched_days.feature_date,
        touched_days.n_rows,
        cells.feature,
        cells.cell,
        case when cells.is_reference then 0 else cells.n_values end as n_values,
        case when cells.is_reference then cells.n_values else 0 end as n_reference
    from touched_days
    inner join cells
        on
            touched_days.task = cells.task
            and touched_days.model_version = cells.model_version
            and (cells.is_reference or touched_days.feature_date = cells.feature_date)
    where touched_days.n_rows is not null

),

shares as (

    select
        sides.task,
        sides.model_version,
        sides.feature_date,
        sides.n_rows,
        features.feature,
        features.feature_kind,
        features.n_rows as n_reference_rows,
        features.edges,
        features.levels,
        {{ share_cell('features.feature_kind', 'sides.cell') }} as share_cell,
        cast(sum(sides.n_values) as bigint) as n_values,
        cast(sum(sides.n_reference) as bigint) as n_reference_values
    from sides
    inner join features
        on
            sides.task = features.task
            and sides.model_version = features.model_version
            and sides.feature = features.feature
    group by
        sides.task,
        sides.model_version,
        sides.feature_date,
        sides.n_rows,
        features.feature,
        features.feature_kind,
        features.n_rows,
        features.edges,
        features.levels,
        {{ share_cell('features.feature_kind', 'sides.cell') }}

),

final as (

    select
        touched_days.task,
        touched_days.model_version,
        shares.feature,
        shares.feature_kind,
        case
            when shares.share_cell = -1 then '(missing)'
            when shares.feature_kind = 'number' then 'tenth ' || shares.share_cell
            when shares.share_cell = 0 then '(other)'
            else shares.levels[shares.share_cell]
        end as cell_name,

        cast(shares.share_cell as integer) as share_cell,
        case
            when shares.share_cell between 2 and 10
                then shares.edges[10 * shares.share_cell - 9]
        end as lower_edge,
        case
            when shares.share_cell between 1 and 9
                then shares.edges[10 * shares.share_cell + 1]
        end as upper_edge,
        shares.n_values,
        shares.n_reference_values,
        {{ ratio('shares.n_values', 'shares.n_rows') }} as share,
        {{ ratio('shares.n_reference_values', 'shares.n_reference_rows') }} as reference_share,

        touched_days.feature_date,
        case when shares.feature is not null then {{ next_change_number() }} end as change_number

    from touched_days
    left join shares
        on
            touched_days.task = shares.task
            and touched_days.model_version = shares.model_version
            and touched_days.feature_date = shares.feature_date

)

select * from final
