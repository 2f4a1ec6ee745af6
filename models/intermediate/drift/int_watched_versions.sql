-- Whose answers are acted upon: the champion's, and where a task has none, somebody else's.
with versions as (

    select * from {{ ref('dim_model_versions') }}

),

final as (

    select
        task,
        model_version,
        status,
        trained_at,
        judged_through
    from versions
    where
        status = 'champion'
        or (
            status = 'external'
            and task not in (
                select champions.task from versions as champions
                where champions.status = 'champion'
            )
        )

)

select * from final
