with tasks as (

    {% for name, task in prediction_tasks().items() %}
    select
        {{ sql_literal(name, 'text') }} as task,
        {{ sql_literal(task.kind, 'text') }} as kind,
        {{ sql_literal(task.entity, 'text') }} as entity,
        {{ sql_literal(task.get('features_model'), 'text') }} as features_model,
        {{ sql_literal(
            ref(task.features_model).include(database=false) | string
            if task.get('features_model') else none,
            'text'
        ) }} as features_relation,
        {{ sql_literal(task.get('outcome_event'), 'text') }} as outcome_event,
        {{ sql_literal(task.get('label_rule'), 'text') }} as label_rule,
        {{ sql_literal(tojson(task.get('slices') or []), 'jsonb') }} as slices,
        {{ sql_literal(task.get('description'), 'text') }} as description,
        {{ sql_literal(task.get('horizon_days'), 'double precision') }} as horizon_days,
        {{ sql_literal(task.get('default_threshold'), 'double precision') }}
            as default_threshold,
        {{ sql_literal(var('retrain_after_days'), 'double precision') }} as retrain_after_days,
        {{ sql_literal(var('retrain_pause_days'), 'double precision') }} as retrain_pause_days
    {% if not loop.last %}union all{% endif %}
    {% else %}
    select
        {% for column in [
            'task', 'kind', 'entity', 'features_model', 'features_relation', 'outcome_event',
            'label_rule',
        ] %}
        cast(null as text) as {{ column }},
        {% endfor %}
        cast(null as jsonb) as slices,
        cast(null as text) as description,
        cast(null as double precision) as horizon_days,
        cast(null as double precision) as default_threshold,
        cast(null as double precision) as retrain_after_days,
        cast(null as double precision) as retrain_pause_days
    where false
    {% endfor %}

)

select * from tasks
