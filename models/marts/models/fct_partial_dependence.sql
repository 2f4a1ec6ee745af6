with partial_dependence as (

    select * from {{ ref('stg_scoring__partial_dependence') }}

)

select * from partial_dependence
