-- An operator may send a label of its own with a registration. Where does it differ from what the
-- events say? A high share in one corner means that somebody's definition, or data, is wrong.
with labels as (

    select * from {{ ref('int_labels') }}
    where label_name = 'first_day_churn' and label_status = 'mature'

),

registrations as (

    select * from {{ ref('int_registrations') }}
    where sent_label is not null

)

select
    registrations.sent_label,
    labels.label,
    count(*) as n_players,
    round(100.0 * count(*) / sum(count(*)) over (), 1) as percent_of_players,
    min(registrations.registered_at) as first_registered_at,
    max(registrations.registered_at) as last_registered_at
from registrations
inner join labels
    on registrations.user_id = labels.entity_id
group by registrations.sent_label, labels.label
order by registrations.sent_label, labels.label
