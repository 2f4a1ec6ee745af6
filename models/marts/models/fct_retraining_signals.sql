with models as (

    select * from {{ ref('dim_model_versions') }}
    where status = 'champion' and judged_through is not null

),

drift as (

    select * from {{ ref('int_drift_windows') }}
    where is_newest and n_recent >= {{ var('retrain_min_rows') }}

),

losses as (

    select
        *,
        n_mature >= {{ var('retrain_min_rows') }} as is_enough
    from {{ ref('int_losses') }}

),

drift_of_answer as (

    select
        task,
        model_version,
        population_stability_index as answer_psi
    from drift
    where watched_kind = 'answer'

),

drift_of_features as (

    select
        task,
        model_version,
        feature,
        population_stability_index as feature_psi,
        row_number() over (
            partition by task, model_version
            order by population_stability_index desc, feature asc
        ) as drift_rank
    from drift
    where watched_kind = 'feature'

),

signals as (

    select
        models.task,
        models.model_version,
        drift_of_features.feature as drifted_feature,
        drift_of_answer.answer_psi,
        drift_of_features.feature_psi,
        reference.loss as reference_loss,
        case when live.is_enough then live.loss end as live_loss,
        reference.calibration_error as reference_calibration_error,
        case when live.is_enough then live.calibration_error end as live_calibration_error,
        coalesce(live.n_mature, 0) as n_live_mature,
        models.trained_at
    from models
    left join drift_of_answer
        on
            models.task = drift_of_answer.task
            and models.model_version = drift_of_answer.model_version
    left join drift_of_features
        on
            models.task = drift_of_features.task
            and models.model_version = drift_of_features.model_version
            and drift_of_features.drift_rank = 1
    left join losses as reference
        on
            models.task = reference.task
            and models.model_version = reference.model_version
            and reference.run_kind = 'backtest'
    left join losses as live
        on
            models.task = live.task
            and models.model_version = live.model_version
            and live.run_kind = 'live'

),

reasoned as (

    select
        *,
        case
            when answer_psi > {{ var('retrain_psi') }}
                then 'the answers drifted: PSI ' || round(cast(answer_psi as numeric), 2)
            when feature_psi > {{ var('retrain_psi') }}
                then
                    drifted_feature || ' drifted: PSI ' || round(cast(feature_psi as numeric), 2)
            when live_loss > reference_loss * (1 + {{ var('retrain_loss_margin') }})
                then
                    'the loss is ' || round(cast(live_loss as numeric), 4) || ' and was '
                    || round(cast(reference_loss as numeric), 4) || ' when it was judged'
            when
                live_calibration_error
                > reference_calibration_error + {{ var('retrain_calibration_margin') }}
                then
                    'the mean score is off by ' || round(cast(live_calibration_error as numeric), 3)
                    || ', it was by ' || round(cast(reference_calibration_error as numeric), 3)
        end as reason
    from signals

),

final as (

    select
        task,
        model_version,
        drifted_feature,
        reason,

        answer_psi,
        feature_psi,
        reference_loss,
        live_loss,
        reference_calibration_error,
        live_calibration_error,
        n_live_mature,

        reason is not null as is_due,

        trained_at

    from reasoned

)

select * from final
