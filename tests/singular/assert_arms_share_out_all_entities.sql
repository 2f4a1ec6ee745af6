-- The arms of an experiment share out every eligible entity, and one of them is the control arm.
with arms as (

    select * from {{ ref('dim_experiment_arms') }}

)

select
    experiment,
    sum(share) as sum_shares,
    count(*) filter (where is_control) as n_controls
from arms
group by experiment
having abs(sum(share) - 1) > 1e-9 or count(*) filter (where is_control) != 1
