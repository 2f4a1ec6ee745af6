{% macro task_slices() %}
    select
        cast(null as text) as task,
        cast(null as text) as slice_name
    where false
    {% for name, task in prediction_tasks().items() %}
        {% for slice in task.get('slices') or [] %}
            union all
            select
                {{ sql_literal(name, 'text') }} as task,
                {{ sql_literal(slice, 'text') }} as slice_name
        {% endfor %}
    {% endfor %}
{% endmacro %}
