-- Which channels bring leads that order, and what is a lead of each worth? Sort by money rather
-- than by rate: a channel may bring few buyers who spend much. Intervals that overlap decide
-- nothing.
with leads as (

    select * from {{ ref('int_leads') }}

),

labels as (

    select * from {{ ref('int_labels') }}
    where label_name = 'lead_conversion' and label_status = 'mature'

),

channels as (

    select
        coalesce(leads.utm_medium, 'unknown') as utm_medium,
        count(*) as n_leads,
        count(*) filter (where labels.label = 1) as n_buyers,
        sum(labels.outcome_amount) as sum_revenue
    from leads
    inner join labels
        on leads.user_id = labels.entity_id
    group by coalesce(leads.utm_medium, 'unknown')

)

select
    utm_medium,
    n_leads,
    n_buyers,
    {{ ratio('n_buyers', 'n_leads') }} as conversion_rate,
    {{ wilson_bound('n_buyers', 'n_leads', 'lower') }} as conversion_rate_lower,
    {{ wilson_bound('n_buyers', 'n_leads', 'upper') }} as conversion_rate_upper,
    sum_revenue,
    {{ ratio('sum_revenue', 'n_leads') }} as revenue_per_lead
from channels
order by revenue_per_lead desc nulls last, utm_medium asc
