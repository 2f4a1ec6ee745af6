-- What the rules look at, whether it breaks them or not. Each family says what it speaks of.
{% set families = {
    'int_alert_drift': ['task', 'model_version', 'feature'],
    'int_alert_quality': ['task', 'model_version'],
    'int_alert_experiments': ['experiment'],
    'int_alert_delays': ['task', 'model_version'],
    'int_alert_volume': ['task', 'model_version'],
    'int_alert_intake': [],
} %}

with measurements as (

    {% for family, subject in families.items() %}
    select
        rule,
        {% for column in ['task', 'model_version', 'experiment', 'feature'] %}
        {{ column if column in subject else 'cast(null as text) as ' ~ column }},
        {% endfor %}
        finding,
        value,
        n,
        measured_date
    from {{ ref(family) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}

),

final as (

    select
        {{ dbt_utils.generate_surrogate_key(
            ['rule', 'task', 'model_version', 'experiment', 'feature']
        ) }} as alert_id,
        *
    from measurements

)

select * from final
