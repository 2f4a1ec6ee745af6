{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'run_kind', 'prediction_date'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['task', 'model_version', 'run_kind', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with predictions as (

    select * from {{ ref('int_labelled_predictions') }}
    where segment is not null

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_days as (

    select distinct
        task,
        model_version,
        run_kind,
        prediction_date
    from {{ ref('int_labelled_predictions') }}
    where segment is not null and change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_predictions as (

    select
        predictions.*,
        -- A silhouette looks at every pair, so a sample has to do; the digest draws the same one
        -- every time.
        row_number() over (
            partition by
                predictions.task,
                predictions.model_version,
                predictions.run_kind,
                predictions.prediction_date
            order by {{ dbt.hash('predictions.entity_id') }}, predictions.prediction_id
        ) as sample_number
    from predictions
    {% if is_incremental() %}
    inner join touched_days
        on
            predictions.task = touched_days.task
            and predictions.model_version = touched_days.model_version
            and predictions.run_kind = touched_days.run_kind
            and predictions.prediction_date = touched_days.prediction_date
    {% endif %}

),

-- The coordinates are those in which the model measured distances; it wrote them with the segment.
-- What is no list of numbers counts as none, lest one odd prediction stop the build.
points as (

    select
        predictions.task,
        predictions.model_version,
        predictions.run_kind,
        predictions.prediction_date,
        predictions.prediction_id,
        predictions.segment,
        predictions.sample_number,
        coordinates.dimension,
        cast(coordinates.value as double precision) as coordinate
    from selected_predictions as predictions
    cross join
        lateral {{ json_numbers('predictions.attributes', "'coordinates'") }}
            as coordinates (value, dimension)

),

centroids as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        segment,
        dimension,
        {{ exact_mean('coordinate') }} as coordinate
    from points
    group by task, model_version, run_kind, prediction_date, segment, dimension

),

distances_to_centroid as (

    select
        points.task,
        points.model_version,
        points.run_kind,
        points.prediction_date,
        points.segment,
        points.prediction_id,
        {{ euclidean_norm('points.coordinate - centroids.coordinate') }} as distance
    from points
    inner join centroids
        on
            points.task = centroids.task
            and points.model_version = centroids.model_version
            and points.run_kind = centroids.run_kind
            and points.prediction_date = centroids.prediction_date
            and points.segment = centroids.segment
            and points.dimension = centroids.dimension
    group by
        points.task,
        points.model_version,
        points.run_kind,
        points.prediction_date,
        points.segment,
        points.prediction_id

),

scatters as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        segment,
        {{ exact_mean('distance') }} as scatter
    from distances_to_centroid
    group by task, model_version, run_kind, prediction_date, segment

),

separations as (

    select
        one.task,
        one.model_version,
        one.run_kind,
        one.prediction_date,
        one.segment,
        other.segment as other_segment,
        {{ euclidean_norm('one.coordinate - other.coordinate') }} as separation
    from centroids as one
    inner join centroids as other
        on
            one.task = other.task
            and one.model_version = other.model_version
            and one.run_kind = other.run_kind
            and one.prediction_date = other.prediction_date
            and one.dimension = other.dimension
            and one.segment != other.segment
    group by
        one.task,
        one.model_version,
        one.run_kind,
        one.prediction_date,
        one.segment,
        other.segment

),

-- Davies and Bouldin (1979): how much each segment overlaps with the one it resembles most.
worst_overlaps as (

    select
        separations.task,
        separations.model_version,
        separations.run_kind,
        separations.prediction_date,
        separations.segment,
        max(
            (scatters.scatter + other_scatters.scatter) / nullif(separations.separation, 0)
        ) as overlap
    from separations
    inner join scatters
        on
            separations.task = scatters.task
            and separations.model_version = scatters.model_version
            and separations.run_kind = scatters.run_kind
            and separations.prediction_date = scatters.prediction_date
            and separations.segment = scatters.segment
    inner join scatters as other_scatters
        on
            separations.task = other_scatters.task
            and separations.model_version = other_scatters.model_version
            and separations.run_kind = other_scatters.run_kind
            and separations.prediction_date = other_scatters.prediction_date
            and separations.other_segment = other_scatters.segment
    group by
        separations.task,
        separations.model_version,
        separations.run_kind,
        separations.prediction_date,
        separations.segment

),

mean_overlaps as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        {{ exact_mean('overlap') }} as davies_bouldin_index
    from worst_overlaps
    group by task, model_version, run_kind, prediction_date

),

sampled_points as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        prediction_id,
        segment,
        array_agg(coordinate order by dimension) as coordinates
    from points
    where sample_number <= 200
    group by task, model_version, run_kind, prediction_date, prediction_id, segment

),

pairs as (

    select
        one.task,
        one.model_version,
        one.run_kind,
        one.prediction_date,
        one.prediction_id,
        one.segment,
        other.segment as other_segment,
        (
            select sqrt(sum(power(axes.here - axes.there, 2)))
            from unnest(one.coordinates, other.coordinates) as axes (here, there)
        ) as distance
    from sampled_points as one
    -- The only point of a day has no other, and is one that was sampled all the same.
    left join sampled_points as other
        on
            one.task = other.task
            and one.model_version = other.model_version
            and one.run_kind = other.run_kind
            and one.prediction_date = other.prediction_date
            and one.prediction_id != other.prediction_id

),

mean_distances as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        prediction_id,
        segment = other_segment as is_own_segment,
        {{ exact_mean('distance') }} as mean_distance
    from pairs
    group by
        task,
        model_version,
        run_kind,
        prediction_date,
        prediction_id,
        segment,
        other_segment

),

-- Rousseeuw (1987): nearer to one's own segment than to the next one? Alone in a segment counts 0.
nearest_distances as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        prediction_id,
        min(mean_distance) filter (where is_own_segment) as own_distance,
        min(mean_distance) filter (where not is_own_segment) as next_distance
    from mean_distances
    group by task, model_version, run_kind, prediction_date, prediction_id

),

silhouettes as (

    select
        *,
        coalesce(
            (next_distance - own_distance) / nullif(greatest(next_distance, own_distance), 0),
            0
        ) as silhouette
    from nearest_distances

),

mean_silhouettes as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        count(*) as n_sampled,
        case
            when count(next_distance) > 0 then {{ exact_mean('silhouette') }}
        end as silhouette
    from silhouettes
    group by task, model_version, run_kind, prediction_date

),

sizes as (

    select
        task,
        model_version,
        run_kind,
        prediction_date,
        count(*) as n_predictions,
        count(distinct segment) as n_segments
    from selected_predictions
    group by task, model_version, run_kind, prediction_date

),

final as (

    select
        sizes.task,
        sizes.model_version,
        sizes.run_kind,

        sizes.n_predictions,
        sizes.n_segments,
        mean_silhouettes.n_sampled,
        mean_silhouettes.silhouette,
        mean_overlaps.davies_bouldin_index,

        sizes.prediction_date,
        {{ next_change_number() }} as change_number

    from sizes
    left join mean_silhouettes
        on
            sizes.task = mean_silhouettes.task
            and sizes.model_version = mean_silhouettes.model_version
            and sizes.run_kind = mean_silhouettes.run_kind
            and sizes.prediction_date = mean_silhouettes.prediction_date
    left join mean_overlaps
        on
            sizes.task = mean_overlaps.task
            and sizes.model_version = mean_overlaps.model_version
            and sizes.run_kind = mean_overlaps.run_kind
            and sizes.prediction_date = mean_overlaps.prediction_date

)

select * from final
