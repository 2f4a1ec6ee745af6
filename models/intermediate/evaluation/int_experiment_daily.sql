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

    -- The outcome of an experiment that the registry does not know is undefined.
    select * from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined'

),

{% if is_incremental() %}

-- Asked of the model and not of the CTE, which Postgres would write to disk if it were read twice.
touched_days as (

    select distinct
        experiment,
        assignment_date
    from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined' and change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_assignments as (

    select
        assignments.*,
        assignments.label_status = 'mature' as is_mature,
        {{ score_bin('assignments.score', 10) }} as score_stratum
    from assignments
    {% if is_incremental() %}
    inner join touched_days
        on
            assignments.experiment = touched_days.experiment
            and assignments.assignment_date = touched_days.assignment_date
    {% endif %}

),

final as (

    select
        experiment,
        arm,

        score_stratum,
        count(*) as n_assigned,
        count(*) filter (where label_status = 'pending') as n_pending,
        count(*) filter (where is_mature) as n_mature,
        count(*) filter (where is_mature and n_outcomes > 0) as n_converted,
        coalesce(sum(offer_amount) filter (where is_mature), 0) as sum_offered,
        coalesce(sum(outcome_amount) filter (where is_mature), 0) as sum_revenue,
        coalesce(sum(outcome_amount * outcome_amount) filter (where is_mature), 0)
            as sum_squared_revenue,

        assignment_date,
        {{ next_change_number() }} as change_number

    from selected_assignments
    group by experiment, arm, score_stratum, assignment_date

)

select * from final
