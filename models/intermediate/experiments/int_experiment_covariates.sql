-- What the registry names as covariates, of the feature rows that the experiment's model answers.
with experiments as (

    select * from {{ ref('dim_experiments') }}

),

tasks as (

    select * from {{ ref('dim_prediction_tasks') }}

),

feature_rows as (

    select * from {{ ref('int_feature_rows') }}

),

named as (

    select
        experiments.experiment,
        tasks.features_model,
        names.covariate
    from experiments
    inner join tasks
        on experiments.task = tasks.task
    cross join
        lateral jsonb_array_elements_text(experiments.covariates) as names (covariate)

),

final as (

    select
        named.experiment,
        feature_rows.entity_id,
        -- A feature is a column, or stands in the column `attributes`.
        {{ json_object_agg(
            'named.covariate',
            decimal_answer(json_scalar_number(
                "coalesce(feature_rows.document -> named.covariate, "
                ~ "feature_rows.document -> 'attributes' -> named.covariate)"
            ))
        ) }} as covariates,
        feature_rows.as_of_at,
        feature_rows.change_number
    from feature_rows
    inner join named
        on feature_rows.features_model = named.features_model
    group by
        named.experiment,
        feature_rows.entity_id,
        feature_rows.as_of_at,
        feature_rows.change_number

)

select * from final
