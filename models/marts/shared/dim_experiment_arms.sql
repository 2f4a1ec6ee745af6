with arms as (

    {% for name, experiment in experiments().items() %}
    {% set experiment_loop = loop %}
    {% for arm, fields in experiment.arms.items() %}
    select
        {{ sql_literal(name, 'text') }} as experiment,
        {{ sql_literal(arm, 'text') }} as arm,
        {{ sql_literal(loop.index, 'integer') }} as arm_number,
        {{ sql_literal(arm == experiment.control_arm, 'boolean') }} as is_control,
        {{ sql_literal(fields.get('offer_amount') or 0, 'numeric') }} as offer_amount,
        {{ sql_literal(fields.share, 'double precision') }} as stated_share
    {% if not (loop.last and experiment_loop.last) %}union all{% endif %}
    {% endfor %}
    {% else %}
    select
        cast(null as text) as experiment,
        cast(null as text) as arm,
        cast(null as integer) as arm_number,
        cast(null as boolean) as is_control,
        cast(null as numeric) as offer_amount,
        cast(null as double precision) as stated_share
    where false
    {% endfor %}

),

-- Shares that were rounded to a few digits make 1 together.
shares as (

    select
        *,
        stated_share / sum(stated_share) over (partition by experiment) as share
    from arms

),

final as (

    select
        experiment,
        arm,
        arm_number,
        is_control,
        offer_amount,
        share,
        coalesce(
            sum(share) over (
                partition by experiment
                order by is_control desc, arm_number asc
                rows between unbounded preceding and 1 preceding
            ),
            0
        ) as share_from,
        sum(share) over (
            partition by experiment
            order by is_control desc, arm_number asc
            rows unbounded preceding
        ) as share_through
    from shares

)

select * from final
