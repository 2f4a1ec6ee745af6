-- What is watched of the versions whose answers are acted upon, in cells of one kind: the tenths of
-- what a version answered in its backtest, and of the features that a champion relies on most the
-- tenths, or texts, of what it learned from.
with versions as (

    select * from {{ ref('int_watched_versions') }}

),

score_bins as (

    select * from {{ ref('int_score_histogram_daily') }}
    where slice_name = 'all'

),

amount_cells as (

    select * from {{ ref('int_amount_cells_daily') }}

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

features as (

    select * from {{ ref('int_feature_references') }}

),

feature_cells as (

    select * from {{ ref('int_feature_cells_daily') }}

),

watched_bins as (

    select
        score_bins.*,
        case when score_bins.run_kind = 'backtest' then score_bins.n_predictions else 0 end
            as n_reference
    from score_bins
    inner join versions
        on
            score_bins.task = versions.task
            and score_bins.model_version = versions.model_version

),

-- How much of the backtest lies below a bin tells in which of its tenths the bin begins.
ranked_bins as (

    select
        *,
        sum(n_reference) over whole as n_backtest,
        coalesce(sum(n_reference) over below, 0) as n_below
    from watched_bins
    window
        whole as (partition by task, model_version),
        below as (whole order by score_bin groups between unbounded preceding and 1 preceding)

),

score_cells as (

    select
        task,
        model_version,
        run_kind,
        {{ reference_tenth('n_below', 'n_backtest') }} as cell,
        sum(n_predictions) as n_predictions,
        prediction_date
    from ranked_bins
    -- Without a backtest there is nothing to be compared with.
    where n_backtest > 0
    group by
        task,
        model_version,
        run_kind,
        prediction_date,
        {{ reference_tenth('n_below', 'n_backtest') }}

),

answer_cells as (

    select
        task,
        model_version,
        run_kind,
        cell,
        n_predictions,
        prediction_date
    from score_cells

    union all

    select
        amount_cells.task,
        amount_cells.model_version,
        amount_cells.run_kind,
        amount_cells.tenth as cell,
        amount_cells.n_predictions,
        amount_cells.prediction_date
    from amount_cells
    inner join versions
        on
            amount_cells.task = versions.task
            and amount_cells.model_version = versions.model_version

),

-- A feature may be called `answer` too.
final as (

    select
        task,
        model_version,
        'answer' as watched_kind,
        'answer' as feature,
        run_kind = 'backtest' as is_reference,
        cell,
        cast(n_predictions as bigint) as n_values,
        prediction_date as cell_date
    from answer_cells

    union all

    select
        feature_cells.task,
        feature_cells.model_version,
        'feature' as watched_kind,
        feature_cells.feature,
        feature_cells.is_reference,
        {{ share_cell('features.feature_kind', 'feature_cells.cell') }} as cell,
        cast(sum(feature_cells.n_values) as bigint) as n_values,
        feature_cells.feature_date as cell_date
    from feature_cells
    inner join features
        on
            feature_cells.task = features.task
            and feature_cells.model_version = features.model_version
            and feature_cells.feature = features.feature
    inner join importances
        on
            feature_cells.task = importances.task
            and feature_cells.model_version = importances.model_version
            and feature_cells.feature = importances.feature
    inner join versions
        on
            feature_cells.task = versions.task
            and feature_cells.model_version = versions.model_version
    where
        importances.importance_rank <= {{ var('watched_features') }}
        and importances.mean_importance > 0
    group by
        feature_cells.task,
        feature_cells.model_version,
        feature_cells.feature,
        feature_cells.is_reference,
        feature_cells.feature_date,
        {{ share_cell('features.feature_kind', 'feature_cells.cell') }}

)

select * from final
