{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'prediction_date'],
        on_schema_change='fail',
        indexes=[
            {'columns': ['task', 'model_version', 'prediction_date']},
            {'columns': ['change_number']},
        ]
    )
}}

-- Experiments that offer something to whoever is scored below the threshold, and whose outcome is
-- what the task's label tells of.
with experiments as (

    select
        experiments.experiment,
        experiments.task,
        tasks.label_rule
    from {{ ref('dim_experiments') }} as experiments
    inner join {{ ref('dim_prediction_tasks') }} as tasks
        on
            experiments.task = tasks.task
            and experiments.outcome_event = tasks.outcome_event
    where
        experiments.eligible = 'score_below_threshold'
        and tasks.label_rule in ('occurs', 'absent')

),

arms as (

    select
        experiment,
        arm,
        experiment || ':' || arm as arm_in_predictions
    from {{ ref('dim_experiment_arms') }}
    where not is_control

),

predictions as (

    select * from {{ ref('int_labelled_predictions') }}
    where run_kind = 'live' and score is not null and threshold is not null

),

{% if is_incremental() %}

touched_days as (

    select distinct
        task,
        model_version,
        prediction_date
    from {{ ref('int_labelled_predictions') }}
    where run_kind = 'live' and change_number > {{ newest_change_number(this) }}

),

{% endif %}

selected_predictions as (

    {{ rows_of_touched(
        'predictions', 'touched_days', ['task', 'model_version', 'prediction_date']
    ) }}

),

-- How far a score lies above the threshold, in bandwidths.
near_the_threshold as (

    select
        experiments.experiment,
        predictions.task,
        predictions.model_version,
        predictions.prediction_date,
        predictions.arm,
        predictions.label_status = 'mature' as is_mature,
        predictions.score >= predictions.threshold as is_above,
        case experiments.label_rule
            when 'absent' then 1 - predictions.label else predictions.label
        end as converted,
        -- Rounded, since Postgres refuses the powers of a number next to nothing.
        cast(round(cast(
            (predictions.score - predictions.threshold) / {{ var('discontinuity_bandwidth') }}
            as numeric
        ), 12) as double precision) as distance
    from selected_predictions as predictions
    inner join experiments
        on predictions.task = experiments.task

),

-- Above the threshold nobody is offered anything; below it, those of a paying arm are, and neither
-- the control arm nor whom the job passed over.
sides as (

    select
        near_the_threshold.*,
        arms.arm as paying_arm
    from near_the_threshold
    left join arms
        on
            near_the_threshold.experiment = arms.experiment
            and {{ is_among_arms('arms.arm_in_predictions', 'near_the_threshold.arm') }}
    where near_the_threshold.is_above = (arms.arm is null)

),

-- A day keeps a row even if nobody near the threshold counts any more.
final as (

    select
        experiment,
        task,
        model_version,
        -- NULL above the threshold.
        paying_arm as arm,

        {% set is_counted = 'is_mature and abs(distance) <= 1' %}
        count(*) filter (where {{ is_counted }}) as n_mature,
        count(*) filter (where {{ is_counted }} and converted = 1) as n_converted,
        {% for power in [1, 2, 3, 4] %}
        {{ exact_sum('power(distance, ' ~ power ~ ')', is_counted) }} as sum_distance_{{ power }},
        {% endfor %}
        {% for power in [1, 2, 3] %}
        {{ exact_sum('power(distance, ' ~ power ~ ')', is_counted ~ ' and converted = 1') }}
            as sum_converted_distance_{{ power }},
        {% endfor %}

        prediction_date,
        {{ next_change_number() }} as change_number

    from sides
    group by experiment, task, model_version, paying_arm, prediction_date

)

select * from final
