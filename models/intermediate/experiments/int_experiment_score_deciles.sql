-- A bin goes as a whole to the tenth that the middle of its people belongs to.
with bins as (

    select
        experiment,
        score_bin,
        sum(n_mature) as n_mature
    from {{ ref('int_experiment_scores_daily') }}
    where score_bin is not null
    group by experiment, score_bin

),

cumulated as (

    select
        *,
        sum(n_mature) over (partition by experiment order by score_bin) as n_through,
        sum(n_mature) over (partition by experiment) as n_all
    from bins

),

final as (

    select
        experiment,
        score_bin,
        cast(1 + least(9, div(5 * (2 * n_through - n_mature), n_all)) as integer) as score_decile
    from cumulated
    -- Bins in which everybody is pending would share the middle of their neighbour.
    where n_all > 0

)

select * from final
