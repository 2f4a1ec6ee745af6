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

    -- The outcome of an experiment that the registry does not know is undefined.
    select
        *,
        {{ slice_values() }} as slice_values,
        label_status = 'mature' as is_mature
    from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined'

),

-- Those that hold something new, or all.
days as (

    select distinct
        experiment,
        assignment_date
    from {{ ref('int_labelled_assignments') }}
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}

),

-- Day by day through the index: the groups of a day are few enough to stay near the processor.
-- Those alike in every slice are added up first, so that each assignment is looked at once.
combinations as (

    select
        days.experiment,
        days.assignment_date,
        sums.*
    from days
    cross join
        lateral (
            select
                task,
                arm,
                slice_values,
                {{ outcome_sums() }},
                count(*) filter (where is_exposed_before) as n_exposed_before,
                count(*) filter (where is_mature and n_offered > 0) as n_offered,
                count(*) filter (where is_mature and n_seen > 0) as n_seen,
                count(*) filter (where is_mature and n_redeemed > 0) as n_redeemed,
                count(*) filter (where is_mature and n_offered > 0 and n_outcomes > 0)
                    as n_offered_converted,
                coalesce(sum(offer_amount) filter (where is_mature and offer_amount != 0), 0)
                    as sum_offered
            from (
                select assignments.*
                from assignments
                where
                    assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
            ) as of_day
            group by task, arm, slice_values
        ) as sums

),

final as (

    select
        combinations.experiment,
        combinations.arm,
        slices.slice_name,
        slices.slice_value,

        {% for name in experiment_sums() + [
            'n_exposed_before', 'n_offered', 'n_seen', 'n_redeemed', 'n_offered_converted',
            'sum_offered',
        ] %}
        cast(sum(combinations.{{ name }}) as {{ type_of_sum(name) }}) as {{ name }},
        {% endfor %}

        combinations.assignment_date,
        {{ next_change_number() }} as change_number

    from combinations
    cross join lateral {{ slices_of('combinations') }} as slices (slice_name, slice_value)
    -- The arms are compared, and are no slice.
    where slices.slice_name != 'arm'
    group by
        combinations.experiment,
        combinations.arm,
        slices.slice_name,
        slices.slice_value,
        combinations.assignment_date

)

select * from final
