-- The rows of every features model that a task names, under one roof.
with feature_rows as (

    {% for name in feature_models() %}
    select
        {{ sql_literal(name, 'text') }} as features_model,
        entity_id,
        {{ json_omit(json_row('features'), ['change_number']) }} as document,
        as_of_at,
        change_number
    from {{ ref(name) }} as features
    {% if not loop.last %}union all{% endif %}
    {% else %}
    select
        cast(null as text) as features_model,
        cast(null as text) as entity_id,
        cast(null as jsonb) as document,
        cast(null as timestamptz) as as_of_at,
        cast(null as bigint) as change_number
    where false
    {% endfor %}

)

select * from feature_rows
