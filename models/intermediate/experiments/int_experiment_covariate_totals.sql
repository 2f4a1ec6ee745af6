{%- set sums = [
    'n_mature', 'n_converted', 'sum_revenue', 'sum_redeemed', 'sum_covariate',
    'sum_squared_covariate', 'sum_covariate_converted', 'sum_covariate_revenue',
    'sum_covariate_redeemed',
] -%}
with scores as (

    select * from {{ ref('int_experiment_score_totals') }}

),

named as (

    select * from {{ ref('int_experiment_covariates_daily') }}

),

covariates as (

    select
        experiment,
        arm,
        covariate,
        {{ sums | join(', ') }}
    from named

    union all

    select
        experiment,
        arm,
        'score' as covariate,
        n_mature,
        n_converted,
        sum_revenue,
        sum_redeemed,
        sum_score as sum_covariate,
        sum_squared_score as sum_squared_covariate,
        sum_score_converted as sum_covariate_converted,
        sum_score_revenue as sum_covariate_revenue,
        sum_score_redeemed as sum_covariate_redeemed
    from scores

),

final as (

    select
        experiment,
        arm,
        covariate,
        {% for name in sums %}
        sum({{ name }}) as {{ name }}{% if not loop.last %},{% endif %}
        {% endfor %}
    from covariates
    group by experiment, arm, covariate

)

select * from final
