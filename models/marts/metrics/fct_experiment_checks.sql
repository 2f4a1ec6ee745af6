with checks as (

    select * from {{ ref('int_experiment_checks') }}

),

final as (

    select
        check_id,

        experiment,
        arm,
        check_name,
        subject,
        finding,

        value,
        threshold,

        is_passed

    from checks

)

select * from final
