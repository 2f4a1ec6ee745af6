-- What an experiment wants to know of everybody who was assigned: its outcome, what became of the
-- offer, and what must not get worse.
with experiments as (

    select * from {{ ref('dim_experiments') }}

),

events as (

    {% for role in ['outcome', 'offered', 'seen', 'redeemed'] %}
    select
        experiment,
        entity,
        '{{ role }}' as role,
        {{ role }}_event as event_type,
        cast(null as text) as harm,
        horizon_days
    from experiments
    where {{ role }}_event is not null

    union all

    {% endfor %}
    select
        experiments.experiment,
        experiments.entity,
        'guardrail' as role,
        guardrails.key as event_type,
        guardrails.value #>> '{}' as harm,
        experiments.horizon_days
    from experiments
    cross join lateral {{ json_entries('experiments.guardrails') }} as guardrails (key, value)

),

final as (

    select
        experiment,
        role,
        event_type,
        -- One event may answer two questions.
        case when role = 'outcome' then experiment else experiment || ':' || event_type end
            as label_name,
        entity,
        harm,
        horizon_days
    from events

)

select * from final
