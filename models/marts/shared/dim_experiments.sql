with experiments as (

    {% for name, experiment in experiments().items() %}
    select
        {{ sql_literal(name, 'text') }} as experiment,
        {{ sql_literal(experiment.get('task'), 'text') }} as task,
        {{ sql_literal(experiment.entity, 'text') }} as entity,
        {{ sql_literal(experiment.get('eligible'), 'text') }} as eligible,
        {{ sql_literal(experiment.get('salt'), 'text') }} as salt,
        {{ sql_literal(experiment.control_arm, 'text') }} as control_arm,
        {{ sql_literal(experiment.outcome_event, 'text') }} as outcome_event,
        {{ sql_literal(experiment.get('offered_event'), 'text') }} as offered_event,
        {{ sql_literal(experiment.get('seen_event'), 'text') }} as seen_event,
        {{ sql_literal(experiment.get('redeemed_event'), 'text') }} as redeemed_event,
        {{ sql_literal(tojson(experiment.get('guardrails') or {}), 'jsonb') }} as guardrails,
        {{ sql_literal(tojson(experiment.get('covariates') or []), 'jsonb') }} as covariates,
        {{ sql_literal(experiment.get('description'), 'text') }} as description,
        {{ sql_literal(experiment.horizon_days, 'double precision') }} as horizon_days,
        {{ sql_literal(var('assign_within_hours'), 'double precision') }}
            as assign_within_hours,
        {{ sql_literal(experiment.margin, 'double precision') }} as margin,
        {{ sql_literal(experiment.get('minimum_effect') or 0, 'double precision') }}
            as minimum_effect,
        {{ moment_literal(experiment.get('starts_at')) }} as starts_at,
        {{ moment_literal(experiment.get('ends_at')) }} as ends_at
    {% if not loop.last %}union all{% endif %}
    {% else %}
    select
        {% for column in [
            'experiment', 'task', 'entity', 'eligible', 'salt', 'control_arm', 'outcome_event',
            'offered_event', 'seen_event', 'redeemed_event',
        ] %}
        cast(null as text) as {{ column }},
        {% endfor %}
        cast(null as jsonb) as guardrails,
        cast(null as jsonb) as covariates,
        cast(null as text) as description,
        cast(null as double precision) as horizon_days,
        cast(null as double precision) as assign_within_hours,
        cast(null as double precision) as margin,
        cast(null as double precision) as minimum_effect,
        cast(null as timestamptz) as starts_at,
        cast(null as timestamptz) as ends_at
    where false
    {% endfor %}

)

select * from experiments
