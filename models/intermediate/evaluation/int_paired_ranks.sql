-- What DeLong's comparison of two areas under the ROC curve takes, in whole numbers: they add up to
-- the same in any order. Ranks are of all shared predictions at once, so a pair of versions is
-- ranked anew when one of its days was; a version that is no longer scored costs nothing.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['task', 'model_version', 'other_version'],
        on_schema_change='fail'
    )
}}

with days as (

    select * from {{ ref('int_paired_predictions_daily') }}
    where kind = 'binary' and n_shared > 0

),

pairs as (

    select
        task,
        model_version,
        other_version,
        max(change_number) as change_number
    from days
    group by task, model_version, other_version

),

touched_pairs as (

    select
        pairs.task,
        pairs.model_version,
        pairs.other_version,
        -- Sorting by one number is several times faster than by three names.
        row_number() over (order by pairs.task, pairs.model_version, pairs.other_version)
            as pair_number
    from pairs
    {% if is_incremental() %}
    left join {{ this }} as known
        on
            pairs.task = known.task
            and pairs.model_version = known.model_version
            and pairs.other_version = known.other_version
    where pairs.change_number > coalesce(known.change_number, -1)
    {% endif %}

),

shared as (

    select
        touched_pairs.pair_number,
        shared.label = 1 as is_positive,
        shared.answer as score,
        shared.other_answer as other_score
    from touched_pairs
    inner join days
        on
            touched_pairs.task = days.task
            and touched_pairs.model_version = days.model_version
            and touched_pairs.other_version = days.other_version
    cross join
        lateral {{ shared_predictions('days') }} as shared (label, answer, other_answer)

),

-- Placement values (Sun and Xu 2014): of a positive, how many negatives lie below it, of a
-- negative, how many positives. Twice over, as those below and those not above, so that ties count
-- a half.
placements as (

    select
        pair_number,
        is_positive,
        case
            when is_positive
                then
                    count(*) filter (where not is_positive) over below
                    + count(*) filter (where not is_positive) over not_above
            else
                count(*) filter (where is_positive) over below
                + count(*) filter (where is_positive) over not_above
        end as placement,
        case
            when is_positive
                then
                    count(*) filter (where not is_positive) over other_below
                    + count(*) filter (where not is_positive) over other_not_above
            else
                count(*) filter (where is_positive) over other_below
                + count(*) filter (where is_positive) over other_not_above
        end as other_placement
    from shared
    window
        below as (
            partition by pair_number order by score
            groups between unbounded preceding and 1 preceding
        ),
        not_above as (
            partition by pair_number order by score
            groups between unbounded preceding and current row
        ),
        other_below as (
            partition by pair_number order by other_score
            groups between unbounded preceding and 1 preceding
        ),
        other_not_above as (
            partition by pair_number order by other_score
            groups between unbounded preceding and current row
        )

),

sums as (

    select
        pair_number,
        count(*) filter (where is_positive) as n_positives,
        count(*) filter (where not is_positive) as n_negatives,
        coalesce(sum(placement) filter (where is_positive), 0) as sum_placement,
        coalesce(sum(other_placement) filter (where is_positive), 0) as sum_other_placement,
        coalesce(
            sum((placement - other_placement) * (placement - other_placement))
            filter (where is_positive),
            0
        ) as sum_squared_positive_difference,
        coalesce(
            sum((placement - other_placement) * (placement - other_placement))
            filter (where not is_positive),
            0
        ) as sum_squared_negative_difference
    from placements
    group by pair_number

),

final as (

    select
        touched_pairs.task,
        touched_pairs.model_version,
        touched_pairs.other_version,

        sums.n_positives,
        sums.n_negatives,
        sums.sum_placement,
        sums.sum_other_placement,
        sums.sum_squared_positive_difference,
        sums.sum_squared_negative_difference,

        {{ next_change_number() }} as change_number

    from touched_pairs
    inner join sums
        on touched_pairs.pair_number = sums.pair_number

)

select * from final
