{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='assignment_id',
        on_schema_change='fail',
        indexes=[
            {'columns': ['assignment_id'], 'unique': true},
            {'columns': ['experiment', 'assignment_date', 'change_number']},
            {'columns': ['entity_id', 'experiment']},
            {'columns': ['prediction_id']},
            {'columns': ['change_number']},
            {'columns': ['delivery_id']},
            {'columns': ['loaded_at']},
        ]
    )
}}

with assignments as (

    select * from {{ ref('stg_scoring__assignments') }}

),

questions as (

    select * from {{ ref('int_experiment_questions') }}

),

events as (

    select * from {{ ref('int_events_sessionized') }}

),

{% if is_incremental() %}

-- Asked of the models and not of the CTEs, which Postgres would write to disk if they were read
-- twice.
touched as (

    -- Assigned since.
    select assignments.assignment_id
    from {{ ref('stg_scoring__assignments') }} as assignments
    left join {{ this }} as known
        on assignments.assignment_id = known.assignment_id
    where
        {{ arrived_since(this, 'assignments') }}
        and known.assignment_id is null

    union

    -- One of the experiment's questions was answered since, or otherwise.
    select known.assignment_id
    from {{ ref('int_labels') }} as labels
    inner join {{ ref('int_experiment_questions') }} as questions
        on labels.label_name = questions.label_name
    inner join {{ this }} as known
        on
            questions.experiment = known.experiment
            and labels.entity_id = known.entity_id
            and labels.as_of_at = known.assigned_at
    where labels.change_number > {{ newest_change_number(this) }}

    union

    -- The prediction came later than the assignment that it led to.
    select known.assignment_id
    from {{ ref('int_labelled_predictions') }} as predictions
    inner join {{ this }} as known
        on predictions.prediction_id = known.prediction_id
    where
        predictions.change_number > {{ newest_change_number(this) }}
        and known.task is null

    union

    -- A late event moved a covariate.
    select known.assignment_id
    from {{ ref('int_experiment_covariates') }} as covariates
    inner join {{ this }} as known
        on
            covariates.experiment = known.experiment
            and covariates.entity_id = known.entity_id
            and covariates.as_of_at = known.predicted_as_of_at
    where covariates.change_number > {{ newest_change_number(this) }}

    union

    -- An offer turns out to have come before the assignment, or a visit to be somebody else's.
    select known.assignment_id
    from {{ ref('int_events_sessionized') }} as events
    inner join {{ ref('int_experiment_questions') }} as questions
        on
            (questions.role in ('offered', 'seen') and events.event_type = questions.event_type)
            or (questions.role = 'outcome' and questions.entity = 'session')
    inner join {{ this }} as known
        on
            questions.experiment = known.experiment
            and known.entity_id
            = case questions.entity when 'user' then events.user_id else events.session_id end
            and (events.occurred_at < known.assigned_at or questions.role = 'outcome')
    where events.change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_assignments as (

    select *
    from assignments
    {% if is_incremental() %}
    where assignment_id in (select touched.assignment_id from touched)
    {% endif %}

),

-- An experiment that the registry does not know has no questions, and its assignments no answers.
answers as (

    select
        assignments.assignment_id,
        max(questions.entity) as entity,
        max(questions.horizon_days) as horizon_days,
        max(labels.label_status) filter (where questions.role = 'outcome') as label_status,
        max(labels.n_outcomes) filter (where questions.role = 'outcome') as n_outcomes,
        max(labels.outcome_amount) filter (where questions.role = 'outcome') as outcome_amount,
        max(labels.n_outcomes) filter (where questions.role = 'offered') as n_offered,
        max(labels.n_outcomes) filter (where questions.role = 'seen') as n_seen,
        max(labels.n_outcomes) filter (where questions.role = 'redeemed') as n_redeemed,
        max(labels.outcome_amount) filter (where questions.role = 'redeemed') as redeemed_amount,
        coalesce(bool_or(questions.role = 'redeemed'), false) as is_redemption_known,
        jsonb_agg(questions.event_type order by questions.event_type) filter (
            where questions.role = 'guardrail' and labels.n_outcomes > 0
        ) as guardrail_events
    from selected_assignments as assignments
    inner join questions
        on assignments.experiment = questions.experiment
    left join {{ ref('int_labels') }} as labels
        on
            questions.label_name = labels.label_name
            and assignments.entity_id = labels.entity_id
            and assignments.assigned_at = labels.as_of_at
    group by assignments.assignment_id

),

exposures as (

    select
        questions.experiment,
        case questions.entity when 'user' then events.user_id else events.session_id end
            as entity_id,
        events.occurred_at,
        questions.horizon_days
    from events
    inner join questions
        on events.event_type = questions.event_type
    where questions.role in ('offered', 'seen')

),

-- Who had an offer within a horizon before being assigned was no blank sheet.
exposed as (

    select distinct assignments.assignment_id
    from selected_assignments as assignments
    inner join exposures
        on
            assignments.experiment = exposures.experiment
            and assignments.entity_id = exposures.entity_id
            and assignments.assigned_at > exposures.occurred_at
            and assignments.assigned_at
            <= exposures.occurred_at + {{ interval_of('exposures.horizon_days', 'day') }}

),

-- A visit is the person's of its first event.
visitors as (

    select
        assignments.assignment_id,
        (array_agg(events.user_id order by events.occurred_at, events.event_id))[1] as person_id
    from selected_assignments as assignments
    inner join questions
        on
            assignments.experiment = questions.experiment
            and questions.role = 'outcome'
            and questions.entity = 'session'
    inner join events
        on assignments.entity_id = events.session_id
    group by assignments.assignment_id

),

final as (

    select
        assignments.assignment_id,
        assignments.delivery_id,
        assignments.entity_id,
        case answers.entity when 'session' then visitors.person_id else assignments.entity_id end
            as person_id,
        assignments.prediction_id,

        assignments.experiment,
        assignments.arm,
        predictions.task,
        coalesce(answers.label_status, 'undefined') as label_status,
        answers.guardrail_events,
        predictions.attributes,
        covariates.covariates,

        assignments.offer_amount,
        predictions.score,
        answers.n_outcomes,
        answers.outcome_amount,
        answers.n_offered,
        answers.n_seen,
        -- Where nobody tells of redemptions, whoever was offered something and converted took it.
        case
            when answers.is_redemption_known then answers.n_redeemed
            when answers.n_outcomes is not null
                then cast(answers.n_outcomes > 0 and assignments.offer_amount > 0 as integer)
        end as n_redeemed,
        case
            when answers.is_redemption_known then answers.redeemed_amount
            else assignments.offer_amount * cast(answers.n_outcomes > 0 as integer)
        end as redeemed_amount,

        exposed.assignment_id is not null as is_exposed_before,

        assignments.assignment_date,
        assignments.assigned_at,
        predictions.as_of_at as predicted_as_of_at,
        assignments.loaded_at,
        {{ next_change_number() }} as change_number

    from selected_assignments as assignments
    left join answers
        on assignments.assignment_id = answers.assignment_id
    left join {{ ref('int_labelled_predictions') }} as predictions
        on assignments.prediction_id = predictions.prediction_id
    left join {{ ref('int_experiment_covariates') }} as covariates
        on
            assignments.experiment = covariates.experiment
            and predictions.entity_id = covariates.entity_id
            and predictions.as_of_at = covariates.as_of_at
    left join exposed
        on assignments.assignment_id = exposed.assignment_id
    left join visitors
        on assignments.assignment_id = visitors.assignment_id

)

select * from final
