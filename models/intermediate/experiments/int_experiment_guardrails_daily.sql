with combinations as (

    select * from {{ ref('int_experiment_combinations_daily') }}

),

guardrails as (

    select * from {{ ref('int_experiment_questions') }}
    where role = 'guardrail'

),

final as (

    select
        combinations.experiment,
        combinations.arm,
        guardrails.event_type,

        cast(sum(combinations.n_mature) as bigint) as n_mature,
        cast(coalesce(
            sum(combinations.n_mature)
            filter (where jsonb_exists(combinations.guardrail_events, guardrails.event_type)),
            0
        ) as bigint) as n_with_event,

        combinations.assignment_date

    from combinations
    inner join guardrails
        on combinations.experiment = guardrails.experiment
    group by
        combinations.experiment,
        combinations.arm,
        guardrails.event_type,
        combinations.assignment_date

)

select * from final
