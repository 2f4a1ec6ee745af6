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

reference_cells as (

    select * from {{ ref('int_feature_cells_daily') }}
    where is_reference

),

day_cells as (

    select * from {{ ref('int_feature_cells_daily') }}
    where not is_reference

),

days as (

    select
        task,
        model_version,
        feature_date,
        n_rows,
        max(change_number) as newest_change_number
    from {{ ref('int_feature_cells_daily') }}
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

-- Every cell of the reference beside the same of the day, empty ones too: over them as well the two
-- distributions may be apart.
cells as (

    select
        touched_days.task,
        touched_days.model_version,
        touched_days.feature_date,
        touched_days.n_rows,
        features.feature,
        features.feature_kind,
        features.n_rows as n_reference_rows,
        numbers.cell,
        features.edges[numbers.cell] as lower_edge,
        features.edges[numbers.cell + 1] as upper_edge,
        coalesce(day_cells.n_values, 0) as n_values,
        coalesce(day_cells.n_on_edge, 0) as n_on_edge,
        coalesce(day_cells.sum_value, 0) as sum_value,
        coalesce(reference_cells.n_values, 0) as n_reference,
        coalesce(reference_cells.n_on_edge, 0) as n_reference_on_edge,
        coalesce(reference_cells.sum_value, 0) as sum_reference
    from touched_days
    inner join features
        on
            touched_days.task = features.task
            and touched_days.model_version = features.model_version
    cross join
        lateral generate_series(
            -1,
            coalesce(cardinality(features.edges), cardinality(features.levels), 0)
        ) as numbers (cell)
    left join reference_cells
        on
            features.task = reference_cells.task
            and features.model_version = reference_cells.model_version
            and features.feature = reference_cells.feature
            and numbers.cell = reference_cells.cell
    left join day_cells
        on
            touched_days.task = day_cells.task
            and touched_days.model_version = day_cells.model_version
            and touched_days.feature_date = day_cells.feature_date
            and features.feature = day_cells.feature
            and numbers.cell = day_cells.cell
    where touched_days.n_rows is not null

),

running_counts as (

    select
        *,
        sum(n_values) filter (where cell >= 0) over so_far as n_so_far,
        sum(n_reference) filter (where cell >= 0) over so_far as n_reference_so_far,
        sum(n_values) filter (where cell >= 0) over whole as n_known,
        sum(n_reference) filter (where cell >= 0) over whole as n_known_reference
    from cells
    window
        whole as (partition by task, model_version, feature_date, feature),
        so_far as (whole order by cell)

),

-- The two empirical distributions: how high they are on the lower edge of a cell and just below its
-- upper one, and the values that lie between the two.
curves as (

    select
        *,
        feature_kind = 'number' and cell >= 0 as is_number,
        {{ ratio('(n_so_far - n_values + n_on_edge)', 'n_known') }} as on_edge,
        {{ ratio('n_so_far', 'n_known') }} as below_next,
        {{ ratio('(n_values - n_on_edge)', 'n_known') }} as between_share,
        {{ ratio('(sum_value - coalesce(n_on_edge * lower_edge, 0))', 'n_known') }} as between_sum,
        {{ ratio('(n_reference_so_far - n_reference + n_reference_on_edge)', 'n_known_reference') }}
            as reference_on_edge,
        {{ ratio('n_reference_so_far', 'n_known_reference') }} as reference_below_next,
        {{ ratio('(n_reference - n_reference_on_edge)', 'n_known_reference') }}
            as reference_between_share,
        {{ ratio(
            '(sum_reference - coalesce(n_reference_on_edge * lower_edge, 0))', 'n_known_reference'
        ) }} as reference_between_sum
    from running_counts

),

gaps as (

    select
        *,
        greatest(abs(on_edge - reference_on_edge), abs(below_next - reference_below_next)) as gap,
        {{ widest_gap('on_edge', 'below_next', 'reference_on_edge', 'reference_below_next') }}
            as widest_gap,
        abs({{ gap_area(
            'lower_edge', 'upper_edge', 'on_edge - reference_on_edge',
            'between_share', 'between_sum', 'reference_between_share', 'reference_between_sum'
        ) }}) as area,
        below_next > reference_on_edge and reference_below_next > on_edge as may_cross
    from curves

),

-- Only where the two may cross is the area between them more than the difference of the areas below
-- them.
bounds as (

    select
        *,
        case
            when may_cross then greatest(0, (upper_edge - lower_edge) * widest_gap - area) else 0
        end as area_error_bound
    from gaps

),

-- The tenths of the reference, or its texts, and what is missing.
share_cells as (

    select
        task,
        model_version,
        feature_date,
        feature,
        feature_kind,
        n_rows,
        n_reference_rows,
        n_known,
        n_known_reference,
        {{ ratio('sum(n_values)', 'n_rows') }} as share,
        {{ ratio('sum(n_reference)', 'n_reference_rows') }} as reference_share,
        sum(sum_value) as sum_value,
        sum(sum_reference) as sum_reference,
        max(gap) filter (where is_number) as gap,
        max(widest_gap) filter (where is_number) as widest_gap,
        sum(cast(area as numeric)) filter (where is_number) as area,
        sum(cast(area_error_bound as numeric)) filter (where is_number) as area_error_bound
    from bounds
    group by
        task,
        model_version,
        feature_date,
        feature,
        feature_kind,
        n_rows,
        n_reference_rows,
        n_known,
        n_known_reference,
        {{ share_cell('feature_kind', 'cell') }}

),

comparisons as (

    select
        task,
        model_version,
        feature_date,
        feature,
        feature_kind,
        n_reference_rows,
        n_rows,
        {{ population_stability_index('share', 'reference_share') }}
            as population_stability_index,
        {{ stable_sum('abs(share - reference_share)') }} / 2 as total_variation_distance,
        max(gap) as kolmogorov_smirnov_statistic,
        case when max(gap) is not null then greatest(0, max(widest_gap) - max(gap)) end
            as kolmogorov_smirnov_error_bound,
        {{ stable_sum('area') }} as wasserstein_distance,
        {{ stable_sum('area_error_bound') }} as wasserstein_error_bound,
        case
            when feature_kind = 'number'
                then {{ ratio('sum(sum_reference)', 'n_known_reference') }}
        end as reference_mean_value,
        case when feature_kind = 'number' then {{ ratio('sum(sum_value)', 'n_known') }} end
            as mean_value,
        {{ ratio('(n_reference_rows - n_known_reference)', 'n_reference_rows') }}
            as reference_missing_share,
        {{ ratio('(n_rows - n_known)', 'n_rows') }} as missing_share
    from share_cells
    group by
        task,
        model_version,
        feature_date,
        feature,
        feature_kind,
        n_rows,
        n_reference_rows,
        n_known,
        n_known_reference

),

final as (

    select
        touched_days.task,
        touched_days.model_version,
        comparisons.feature,
        comparisons.feature_kind,

        cast(comparisons.n_reference_rows as bigint) as n_reference_rows,
        cast(comparisons.n_rows as bigint) as n_rows,
        comparisons.population_stability_index,
        comparisons.total_variation_distance,
        comparisons.kolmogorov_smirnov_statistic,
        comparisons.kolmogorov_smirnov_error_bound,
        comparisons.wasserstein_distance,
        comparisons.wasserstein_error_bound,
        comparisons.reference_mean_value,
        comparisons.mean_value,
        comparisons.reference_missing_share,
        comparisons.missing_share,

        touched_days.feature_date,
        case when comparisons.feature is not null then {{ next_change_number() }} end
            as change_number

    from touched_days
    left join comparisons
        on
            touched_days.task = comparisons.task
            and touched_days.model_version = comparisons.model_version
            and touched_days.feature_date = comparisons.feature_date

)

select * from final
