{{ config(materialized='table', post_hook='analyze {{ this }}') }}

-- The versions in use, and how large the window is from which each of them learned. Counting the
-- rows, and their newest change number, tells whether a window changed; no value is read for it.
with models as (

    select * from {{ ref('stg_scoring__models') }}
    where status in ('champion', 'challenger')

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

feature_rows as (

    select * from {{ ref('int_feature_rows') }}

),

windows as (

    select
        models.task,
        models.model_version,
        tasks.features_model,
        models.trained_from,
        models.trained_through,
        count(*) as n_training_rows,
        max(feature_rows.change_number) as change_number
    from models
    inner join tasks
        on models.task = tasks.task
    inner join feature_rows
        on
            tasks.features_model = feature_rows.features_model
            and models.trained_from <= feature_rows.as_of_at
            and models.trained_through >= feature_rows.as_of_at
    group by
        models.task,
        models.model_version,
        tasks.features_model,
        models.trained_from,
        models.trained_through

),

final as (

    select
        task,
        model_version,
        features_model,

        n_training_rows,
        least(1, {{ ratio(var('drift_reference_rows'), 'n_training_rows') }}) as sampled_share,

        trained_from,
        trained_through,
        {{ reporting_date('trained_through') }} as trained_through_date,
        change_number

    from windows

)

select * from final
