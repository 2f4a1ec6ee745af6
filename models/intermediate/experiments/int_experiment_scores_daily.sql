{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['experiment', 'assignment_date'],
        on_schema_change='fail',
        sql_header=before_adding_up(),
        indexes=[
            {'columns': ['experiment', 'assignment_date']},
            {'columns': ['change_number']},
        ]
    )
}}

with assignments as (

    select
        *,
        {{ histogram_bin('score') }} as score_bin,
        {{ in_trillionths('score') }} as score_in_trillionths,
        {{ outcome_conditions() }}
    from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined'

),

-- Those that hold something new, or all.
days as (

    {{ touched_days(ref('int_labelled_assignments'), ['experiment', 'assignment_date']) }}

),

-- As in `int_experiment_combinations_daily`.
final as (

    select
        days.experiment,
        sums.*,
        days.assignment_date,
        {{ next_change_number() }} as change_number
    from days
    cross join
        lateral (
            select
                arm,
                -- NULL for those that no score led to.
                score_bin,
                {{ outcome_sums() }},
                -- What a covariate needs: `int_experiment_covariate_totals`. Whole numbers are
                -- several times as fast to add up as decimals, and to make decimals of as doubles.
                trim_scale({{ sum_of_trillionths('score_in_trillionths', 'is_mature') }})
                    as sum_score,
                trim_scale({{ exact_sum('score * score', 'is_mature') }}) as sum_squared_score,
                trim_scale({{ sum_of_trillionths('score_in_trillionths', 'is_converted') }})
                    as sum_score_converted,
                trim_scale(
                    {{ sum_of_trillionths('score_in_trillionths * outcome_amount', 'has_revenue') }}
                ) as sum_score_revenue,
                trim_scale(
                    {{ sum_of_trillionths(
                        'score_in_trillionths * redeemed_amount', 'has_redeemed'
                    ) }}
                ) as sum_score_redeemed
            from (
                select assignments.*
                from assignments
                where
                    assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
                -- By itself: pulled up, an expression is computed in each place that uses it.
                offset 0 -- noqa: AM09
            ) as of_day
            group by arm, score_bin
        ) as sums

)

select * from final
