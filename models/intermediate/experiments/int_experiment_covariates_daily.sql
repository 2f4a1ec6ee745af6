{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['experiment', 'assignment_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['experiment', 'assignment_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with assignments as (

    select
        *,
        label_status = 'mature' as is_mature
    from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined'

),

names as (

    select
        experiments.experiment,
        entries.covariate
    from {{ ref('dim_experiments') }} as experiments
    cross join
        lateral jsonb_array_elements_text(experiments.covariates) as entries (covariate)

),

-- Those that hold something new, or all.
days as (

    select distinct
        experiment,
        assignment_date
    from {{ ref('int_labelled_assignments') }}
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}

),

-- As in `int_experiment_daily`. The score is the covariate at hand; others are what the registry
-- names. A day keeps a row even if nobody counts any more, so that it replaces what stood there.
final as (

    select
        days.experiment,
        sums.*,
        days.assignment_date,
        {{ next_change_number() }} as change_number
    from days
    cross join
        lateral (
            select
                arm,
                'score' as covariate,
                count(score) filter (where is_mature) as n_mature,
                count(score) filter (where is_mature and n_outcomes > 0) as n_converted,
                coalesce(
                    sum(outcome_amount) filter (
                        where is_mature and outcome_amount != 0 and score is not null
                    ),
                    0
                ) as sum_revenue,
                coalesce(
                    sum(redeemed_amount) filter (
                        where is_mature and redeemed_amount != 0 and score is not null
                    ),
                    0
                ) as sum_redeemed,
                -- Whole numbers, several times as fast to add up as decimals.
                trim_scale({{ exact_sum('score', 'is_mature') }}) as sum_covariate,
                trim_scale({{ exact_sum('score * score', 'is_mature') }})
                    as sum_squared_covariate,
                trim_scale({{ exact_sum('score', 'is_mature and n_outcomes > 0') }})
                    as sum_covariate_converted,
                coalesce(
                    sum(cast(score as numeric) * outcome_amount)
                    filter (where is_mature and outcome_amount != 0),
                    0
                ) as sum_covariate_revenue,
                coalesce(
                    sum(cast(score as numeric) * redeemed_amount)
                    filter (where is_mature and redeemed_amount != 0),
                    0
                ) as sum_covariate_redeemed
            from (
                select assignments.*
                from assignments
                where
                    assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
            ) as of_day
            group by arm

            union all

            select
                valued.arm,
                valued.covariate,
                count(*) filter (where valued.is_counted) as n_mature,
                count(*) filter (where valued.is_counted and valued.n_outcomes > 0) as n_converted,
                coalesce(sum(valued.outcome_amount) filter (where valued.is_counted), 0)
                    as sum_revenue,
                coalesce(sum(valued.redeemed_amount) filter (where valued.is_counted), 0)
                    as sum_redeemed,
                coalesce(sum(valued.x) filter (where valued.is_counted), 0) as sum_covariate,
                coalesce(sum(valued.x * valued.x) filter (where valued.is_counted), 0)
                    as sum_squared_covariate,
                coalesce(
                    sum(valued.x) filter (where valued.is_counted and valued.n_outcomes > 0), 0
                ) as sum_covariate_converted,
                coalesce(sum(valued.x * valued.outcome_amount) filter (where valued.is_counted), 0)
                    as sum_covariate_revenue,
                coalesce(sum(valued.x * valued.redeemed_amount) filter (where valued.is_counted), 0)
                    as sum_covariate_redeemed
            from (
                -- From the model: a CTE that is read twice is written out, and read whole each day.
                select
                    assignments.*,
                    names.covariate,
                    cast(assignments.covariates ->> names.covariate as numeric) as x,
                    assignments.label_status = 'mature'
                    and assignments.covariates ->> names.covariate is not null as is_counted
                from names
                inner join {{ ref('int_labelled_assignments') }} as assignments
                    on names.experiment = assignments.experiment
                where
                    names.experiment = days.experiment
                    -- Said of both, for the index.
                    and assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
                    and assignments.label_status != 'undefined'
            ) as valued
            group by valued.arm, valued.covariate
        ) as sums

)

select * from final
