-- No delivery is lost and none is counted twice: received = kept + duplicates + quarantined. If it
-- fails after the seed event_types or `as_of` changed, or after rows landed that are older than
-- `late_arrival_days`, clean them anew with
-- `dbt run --full-refresh --select int_events+`.
with kept as (

    select loaded_at from {{ ref('int_events') }}

),

quarantined as (

    select loaded_at from {{ ref('int_events_quarantined') }}

),

-- What landed after the events were built is theirs next time. Where there are none, nothing is.
built as (

    select coalesce(max(loaded_at), cast('infinity' as timestamptz)) as newest_loaded_at
    from kept

),

received as (

    select count(*) as n_received
    from {{ ref('stg_tracking__events') }}
    where loaded_at <= (select built.newest_loaded_at from built)

),

-- Counted from the deliveries, not from what became of them.
valid_deliveries as (

    select
        count(*) as n_valid,
        count(distinct event_id) as n_distinct
    from {{ ref('int_deliveries_checked') }}
    where
        rejection_reason is null
        and loaded_at <= (select built.newest_loaded_at from built)

),

counts as (

    select
        received.n_received,
        (select count(*) from kept) as n_kept,
        valid_deliveries.n_valid - valid_deliveries.n_distinct as n_duplicates,
        (
            select count(*) from quarantined
            where quarantined.loaded_at <= (select built.newest_loaded_at from built)
        ) as n_quarantined
    from received
    cross join valid_deliveries

)

select
    *,
    n_received - n_kept - n_duplicates - n_quarantined as n_unaccounted_for
from counts
where n_received != n_kept + n_duplicates + n_quarantined
