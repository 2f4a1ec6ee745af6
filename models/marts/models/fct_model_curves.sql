with curves as (

    select * from {{ ref('stg_scoring__curves') }}

)

select * from curves
