{{
    config(
        materialized='table',
        post_hook='analyze {{ this }} (experiment, arm, score_bin)'
    )
}}

with scores as (

    select * from {{ ref('int_experiment_scores_daily') }}
    where score_bin is not null

),

final as (

    select
        experiment,
        arm,
        score_bin,
        {% for name in experiment_sums() + [
            'sum_score', 'sum_squared_score', 'sum_score_converted', 'sum_score_revenue',
            'sum_score_redeemed',
        ] %}
        cast(sum({{ name }}) as {{ type_of_sum(name) }}) as {{ name }}
        {%- if not loop.last %},{% endif %}
        {% endfor %}
    from scores
    group by experiment, arm, score_bin

)

select * from final
