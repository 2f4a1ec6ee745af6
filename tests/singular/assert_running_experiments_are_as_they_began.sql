-- A running experiment draws its arms, and offers them, as it did for the first entity; the job
-- refuses to go on otherwise. Put it back in the registry, or give what is new a name of its own.
with begun as (

    select * from {{ ref('stg_scoring__experiments') }}

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

arms as (

    select * from {{ ref('dim_experiment_arms') }}

),

running as (

    select
        begun.experiment,
        begun.salt as begun_salt,
        begun.arms as begun_arms,
        experiments.salt
    from begun
    -- An experiment that left the registry is over.
    inner join experiments
        on begun.experiment = experiments.experiment
    where coalesce(experiments.ends_at > {{ as_of() }}, true)

),

begun_arms as (

    select
        running.experiment,
        entries.key as arm,
        cast({{ json_number('entries.value', "'share'") }} as double precision) as share,
        {{ json_number('entries.value', "'offer_amount'") }} as offer_amount
    from running
    cross join lateral {{ json_entries('running.begun_arms') }} as entries

),

registered_arms as (

    select arms.*
    from arms
    inner join running
        on arms.experiment = running.experiment

),

final as (

    select
        experiment,
        'salt' as what,
        begun_salt as was,
        salt as it_is
    from running
    where begun_salt is distinct from salt

    union all

    select
        coalesce(registered_arms.experiment, begun_arms.experiment) as experiment,
        'arm ' || coalesce(registered_arms.arm, begun_arms.arm) as what,
        'share ' || begun_arms.share || ', offer ' || begun_arms.offer_amount as was,
        'share ' || registered_arms.share || ', offer ' || registered_arms.offer_amount as it_is
    from registered_arms
    full outer join begun_arms
        on
            registered_arms.experiment = begun_arms.experiment
            and registered_arms.arm = begun_arms.arm
    where
        registered_arms.offer_amount is distinct from begun_arms.offer_amount
        or coalesce(abs(registered_arms.share - begun_arms.share) > 1e-9, true)

)

select * from final
