with segments as (

    select * from {{ ref('stg_scoring__segments') }}

),

profiles as (

    select * from {{ ref('stg_scoring__cluster_profiles') }}

),

shares as (

    select
        *,
        {{ ratio('n_entities', 'sum(n_entities) over (partition by task, model_version)') }}
            as share
    from segments

),

final as (

    select
        profiles.task,
        profiles.model_version,
        shares.segment_name,
        profiles.feature,
        profiles.level,

        profiles.segment,
        profiles.position,
        shares.n_entities,
        shares.share,
        profiles.segment_mean,
        profiles.overall_mean,
        profiles.z_score

    from profiles
    inner join shares
        on
            profiles.task = shares.task
            and profiles.model_version = shares.model_version
            and profiles.segment = shares.segment

)

select * from final
