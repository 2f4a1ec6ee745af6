-- What was promised is what was assigned, in number and in money.
with assignments as (

    select * from {{ ref('stg_scoring__assignments') }}

),

offers as (

    select * from {{ ref('fct_coupon_offers') }}

),

-- What was assigned after the offers were built is theirs next time. Without an offer, nothing is.
built as (

    select
        coalesce(max(assignments.loaded_at), cast('infinity' as timestamptz))
            as newest_loaded_at
    from assignments
    inner join offers
        on assignments.assignment_id = offers.offer_id

),

assigned as (

    select
        count(*) as n_assigned,
        coalesce(sum(offer_amount), 0) as sum_assigned
    from assignments
    where
        offer_amount > 0
        and loaded_at <= (select built.newest_loaded_at from built)

),

offered as (

    select
        count(*) as n_offered,
        coalesce(sum(offer_amount), 0) as sum_offered
    from offers

)

select
    assigned.*,
    offered.*
from assigned
cross join offered
where
    assigned.n_assigned != offered.n_offered
    or assigned.sum_assigned != offered.sum_offered
