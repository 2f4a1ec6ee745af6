with experiments as (

    {% for name, experiment in experiments().items() %}
    select
        {{ sql_literal(name, 'text') }} as experiment,
        {{ sql_literal(experiment.get('task'), 'text') }} as task,
        {{ sql_literal(experiment.entity, 'text') }} as entity,
        {{ sql_literal(experiment.get('eligible'), 'text') }} as eligible,
        {{ sql_literal(experiment.get('salt'), 'text') }} as salt,
        {{ sql_literal(experiment.control_arm, 'text') }} as control_arm,
        {{ sql_literal(experiment.get('treatment_arm'), 'text') }} as treatment_arm,
        {{ sql_literal(experiment.outcome_event, 'text') }} as outcome_event,
        {{ sql_literal(experiment.get('description'), 'text') }} as description,
        {{ sql_literal(experiment.get('holdout_share'), 'double precision') }}
            as holdout_share,
        {{ sql_literal(experiment.get('offer_amount'), 'numeric') }} as offer_amount,
        {{ sql_literal(experiment.horizon_days, 'double precision') }} as horizon_days,
        {{ sql_literal(var('assign_within_hours'), 'double precision') }}
            as assign_within_hours,
        {{ sql_literal(experiment.margin, 'double precision') }} as margin
    {% if not loop.last %}union all{% endif %}
    {% else %}
    select
        {% for column in [
            'experiment', 'task', 'entity', 'eligible', 'salt', 'control_arm',
            'treatment_arm', 'outcome_event', 'description',
        ] %}
        cast(null as text) as {{ column }},
        {% endfor %}
        cast(null as double precision) as holdout_share,
        cast(null as numeric) as offer_amount,
        cast(null as double precision) as horizon_days,
        cast(null as double precision) as assign_within_hours,
        cast(null as double precision) as margin
    where false
    {% endfor %}

)

select * from experiments
