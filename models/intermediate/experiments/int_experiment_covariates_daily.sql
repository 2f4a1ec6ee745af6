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

-- What the registry names; the score is a covariate too, and stands in
-- `int_experiment_scores_daily`.
with names as (

    select
        experiments.experiment,
        entries.covariate
    from {{ ref('dim_experiments') }} as experiments
    cross join
        lateral jsonb_array_elements_text(experiments.covariates) as entries (covariate)

),

assignments as (

    select
        assignments.*,
        names.covariate,
        cast(assignments.covariates ->> names.covariate as numeric) as x
    from names
    inner join {{ ref('int_labelled_assignments') }} as assignments
        on names.experiment = assignments.experiment
    where assignments.label_status != 'undefined'

),

-- Those that hold something new, or all.
touched_days as (

    {{ touched_days(ref('int_labelled_assignments'), ['experiment', 'assignment_date']) }}

),

days as (

    select *
    from touched_days
    where experiment in (select names.experiment from names)

),

-- As in `int_experiment_combinations_daily`. A day keeps a row even if nobody counts any more, so
-- that it replaces what stood there.
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
                covariate,
                count(*) filter (where is_counted) as n_mature,
                count(*) filter (where is_counted and n_outcomes > 0) as n_converted,
                coalesce(sum(outcome_amount) filter (where is_counted), 0) as sum_revenue,
                coalesce(sum(redeemed_amount) filter (where is_counted), 0) as sum_redeemed,
                coalesce(sum(x) filter (where is_counted), 0) as sum_covariate,
                coalesce(sum(x * x) filter (where is_counted), 0) as sum_squared_covariate,
                coalesce(sum(x) filter (where is_counted and n_outcomes > 0), 0)
                    as sum_covariate_converted,
                coalesce(sum(x * outcome_amount) filter (where is_counted), 0)
                    as sum_covariate_revenue,
                coalesce(sum(x * redeemed_amount) filter (where is_counted), 0)
                    as sum_covariate_redeemed
            from (
                select
                    assignments.*,
                    assignments.label_status = 'mature' and assignments.x is not null as is_counted
                from assignments
                where
                    assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
                -- By itself: pulled up, an expression is computed in each place that uses it.
                offset 0 -- noqa: AM09
            ) as of_day
            group by arm, covariate
        ) as sums

)

select * from final
