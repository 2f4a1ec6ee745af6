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
        {{ slice_values() }}
        {{ outcome_conditions() }}
    from {{ ref('int_labelled_assignments') }}
    where label_status != 'undefined'

),

-- Those that hold something new, or all.
days as (

    {{ touched_days(ref('int_labelled_assignments'), ['experiment', 'assignment_date']) }}

),

-- Day by day through the index: the groups of a day are few enough to stay near the processor.
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
                {% for column in slice_columns() %}
                {{ column }},
                {% endfor %}
                guardrail_events,
                {{ outcome_sums() }},
                count(*) filter (where is_exposed_before) as n_exposed_before,
                count(*) filter (where is_mature and n_offered > 0) as n_offered,
                count(*) filter (where is_mature and n_seen > 0) as n_seen,
                count(*) filter (where is_mature and n_redeemed > 0) as n_redeemed,
                count(*) filter (where is_converted and n_offered > 0) as n_offered_converted,
                coalesce(sum(offer_amount) filter (where is_mature and offer_amount != 0), 0)
                    as sum_offered
            from (
                select assignments.*
                from assignments
                where
                    assignments.experiment = days.experiment
                    and assignments.assignment_date = days.assignment_date
                -- By itself: pulled up, an expression is computed in each place that uses it.
                offset 0 -- noqa: AM09
            ) as of_day
            group by
                task,
                arm,
                {% for column in slice_columns() %}
                {{ column }},
                {% endfor %}
                guardrail_events
        ) as sums

),

final as (

    select
        combinations.experiment,
        combinations.arm,
        -- With their names, which the registry may change.
        slices.slices,
        combinations.guardrail_events,

        {% for name in experiment_sums() + experiment_offer_sums() %}
        combinations.{{ name }},
        {% endfor %}

        combinations.assignment_date,
        {{ next_change_number() }} as change_number

    from combinations
    cross join
        lateral (
            select {{ json_object_agg('of_row.slice_name', 'of_row.slice_value') }} as slices
            from {{ slices_of('combinations') }} as of_row (slice_name, slice_value)
            -- The arms are compared, and are no slice.
            where of_row.slice_name != 'arm'
        ) as slices

)

select * from final
