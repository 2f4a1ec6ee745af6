{{ config(materialized='table') }}

with watched as (

    select * from {{ ref('int_watched_values') }}

),

deciles as (

    select
        task,
        model_version,
        watched_kind,
        feature,
        percentile_cont(
            array[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        ) within group (order by cast(value_number as double precision)) as edges
    from watched
    where is_reference and value_number is not null
    group by task, model_version, watched_kind, feature

),

reference_shares as (

    select
        task,
        model_version,
        watched_kind,
        feature,
        value_text,
        {{ ratio(
            'count(*)',
            'sum(count(*)) over (partition by task, model_version, watched_kind, feature)'
        ) }} as share
    from watched
    where is_reference
    group by task, model_version, watched_kind, feature, value_text

),

-- Numbers fall between deciles of the reference, frequent texts into a cell of their own. Of rare
-- ones there are many, and chance alone moves each: together they make one cell, new ones too.
cells as (

    select
        watched.task,
        watched.model_version,
        watched.watched_kind,
        watched.feature,
        watched.is_reference,
        case
            when watched.value_number is not null and deciles.edges is not null
                then cast(width_bucket(
                    cast(watched.value_number as double precision), deciles.edges
                ) as text)
            when watched.value_text is null then '(missing)'
            when reference_shares.share >= 0.05 then watched.value_text
            else '(rare)'
        end as cell
    from watched
    left join deciles
        on
            watched.task = deciles.task
            and watched.model_version = deciles.model_version
            and watched.watched_kind = deciles.watched_kind
            and watched.feature = deciles.feature
    left join reference_shares
        on
            watched.task = reference_shares.task
            and watched.model_version = reference_shares.model_version
            and watched.watched_kind = reference_shares.watched_kind
            and watched.feature = reference_shares.feature
            and watched.value_text = reference_shares.value_text

),

counts as (

    select
        task,
        model_version,
        watched_kind,
        feature,
        cell,
        count(*) filter (where is_reference) as n_reference,
        count(*) filter (where not is_reference) as n_recent
    from cells
    group by task, model_version, watched_kind, feature, cell

),

shares as (

    select
        *,
        sum(n_reference) over features as n_reference_rows,
        sum(n_recent) over features as n_recent_rows
    from counts
    window features as (partition by task, model_version, watched_kind, feature)

),

final as (

    select
        task,
        model_version,
        watched_kind,
        feature,

        cast(max(n_reference_rows) as bigint) as n_reference,
        cast(max(n_recent_rows) as bigint) as n_recent,
        -- NULL where either side has no row.
        sum({{ population_stability_term(
            ratio('n_recent', 'n_recent_rows'), ratio('n_reference', 'n_reference_rows')
        ) }}) filter (where n_recent_rows > 0 and n_reference_rows > 0)
            as population_stability_index

    from shares
    group by task, model_version, watched_kind, feature

)

select * from final
