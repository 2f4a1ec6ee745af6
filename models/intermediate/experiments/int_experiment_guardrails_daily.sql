{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['experiment', 'assignment_date'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['experiment', 'assignment_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with assignments as (

    select * from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined'

),

guardrails as (

    select * from {{ ref('int_experiment_questions') }}
    where role = 'guardrail'

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

-- As in `int_experiment_daily`; those to whom the same happened are added up first.
combinations as (

    select
        days.experiment,
        days.assignment_date,
        sums.*
    from days
    cross join
        lateral (
            select
                arm,
                guardrail_events,
                count(*) filter (where label_status = 'mature') as n_mature
            from (
                select assignments.*
                from assignments
                where
                    assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
            ) as of_day
            group by arm, guardrail_events
        ) as sums

),

final as (

    select
        combinations.experiment,
        combinations.arm,
        guardrails.event_type,

        cast(sum(combinations.n_mature) as bigint) as n_mature,
        cast(coalesce(
            sum(combinations.n_mature)
            filter (where jsonb_exists(combinations.guardrail_events, guardrails.event_type)),
            0
        ) as bigint) as n_with_event,

        combinations.assignment_date,
        {{ next_change_number() }} as change_number

    from combinations
    inner join guardrails
        on combinations.experiment = guardrails.experiment
    group by
        combinations.experiment,
        combinations.arm,
        guardrails.event_type,
        combinations.assignment_date

)

select * from final
