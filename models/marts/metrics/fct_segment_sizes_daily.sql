with predictions as (

    select * from {{ ref('int_labelled_predictions') }}
    where segment is not null

),

segments as (

    select * from {{ ref('stg_scoring__segments') }}

),

sizes as (

    select
        task,
        model_version,
        run_kind,
        segment,
        prediction_date,
        count(*) as n_predictions
    from predictions
    group by task, model_version, run_kind, segment, prediction_date

),

shares as (

    select
        *,
        {{ ratio(
            'n_predictions',
            'sum(n_predictions) over (partition by task, model_version, run_kind, prediction_date)'
        ) }} as share
    from sizes

),

trained_shares as (

    select
        *,
        {{ ratio('n_entities', 'sum(n_entities) over (partition by task, model_version)') }}
            as trained_share
    from segments

),

final as (

    select
        shares.task,
        shares.model_version,
        shares.run_kind,
        trained_shares.segment_name,

        shares.segment,
        shares.n_predictions,
        shares.share,
        trained_shares.trained_share,
        shares.share - trained_shares.trained_share as share_drift,

        shares.prediction_date

    from shares
    left join trained_shares
        on
            shares.task = trained_shares.task
            and shares.model_version = trained_shares.model_version
            and shares.segment = trained_shares.segment

)

select * from final
