{{
    config(
        materialized='table',
        post_hook='analyze {{ this }} (experiment, slice_name, assignment_date)'
    )
}}

with combinations as (

    select * from {{ ref('int_experiment_combinations_daily') }}

),

final as (

    select
        combinations.experiment,
        combinations.arm,
        slices.slice_name,
        {{ json_scalar_text('slices.content') }} as slice_value,

        {% for name in experiment_sums() + experiment_offer_sums() %}
        cast(sum(combinations.{{ name }}) as {{ type_of_sum(name) }}) as {{ name }},
        {% endfor %}

        combinations.assignment_date

    from combinations
    cross join
        lateral {{ json_entries('combinations.slices') }} as slices (slice_name, content)
    group by
        combinations.experiment,
        combinations.arm,
        slices.slice_name,
        slices.content,
        combinations.assignment_date

)

select * from final
