-- Feature rows carry the change number of the model that built them; predictions and assignments
-- carry the number and the time of their delivery.
with requests as (

    {% for name, task in prediction_tasks().items() if task.get('features_model') %}
    select
        {{ sql_literal(name, 'text') }} as label_name,
        'features' as requested_by,
        entity_id,
        as_of_at,
        change_number,
        cast(null as bigint) as delivery_id,
        cast(null as timestamptz) as loaded_at
    from {{ ref(task.features_model) }}

    union all

    {% endfor %}

    select
        task as label_name,
        run_kind || ' ' || model_version as requested_by,
        entity_id,
        as_of_at,
        cast(null as bigint) as change_number,
        delivery_id,
        loaded_at
    from {{ ref('stg_scoring__predictions') }}

    union all

    select
        experiment as label_name,
        'assignment' as requested_by,
        entity_id,
        assigned_at as as_of_at,
        cast(null as bigint) as change_number,
        delivery_id,
        loaded_at
    from {{ ref('stg_scoring__assignments') }}

)

select * from requests
