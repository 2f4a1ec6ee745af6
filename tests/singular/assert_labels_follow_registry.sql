-- Labels are computed once, by the rule in force at that time. This finds those that the registry
-- would now decide otherwise: somebody changed a horizon or a label rule. Compute them anew with
-- `dbt run --full-refresh --select int_labels+`.
with labels as (

    select * from {{ ref('int_labels') }}

),

rules as (

    select * from {{ ref('int_label_rules') }}

),

expected as (

    select
        labels.label_name,
        labels.entity_id,
        labels.as_of_at,
        labels.horizon_ends_at,
        labels.label,
        rules.label_rule,
        rules.horizon_days,
        labels.as_of_at + {{ interval_of('rules.horizon_days', 'day') }}
            as expected_horizon_ends_at,
        case rules.label_rule
            when 'occurs' then cast(cast(labels.n_outcomes > 0 as integer) as double precision)
            when 'absent' then cast(cast(labels.n_outcomes = 0 as integer) as double precision)
            when 'sum_amount' then cast(labels.outcome_amount as double precision)
        end as expected_label
    from labels
    -- A task that left the registry leaves its labels behind.
    inner join rules
        on labels.label_name = rules.label_name

)

select *
from expected
where
    horizon_ends_at is distinct from expected_horizon_ends_at
    or label is distinct from expected_label
