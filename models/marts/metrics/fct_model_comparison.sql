with models as (

    select * from {{ ref('stg_scoring__models') }}

),

losses as (

    select * from {{ ref('int_paired_losses_daily') }}

),

ranks as (

    select * from {{ ref('int_paired_ranks') }}

),

champions as (

    select * from models
    where status = 'champion'

),

loss_sums as (

    select
        task,
        model_version,
        other_version,
        metric,
        cast(sum(n_shared) as bigint) as n_shared,
        sum(sum_loss) as sum_loss,
        sum(sum_other_loss) as sum_other_loss,
        sum(sum_squared_difference) as sum_squared_difference,
        min(prediction_date) filter (where n_shared > 0) as first_prediction_date,
        max(prediction_date) filter (where n_shared > 0) as last_prediction_date
    from losses
    group by task, model_version, other_version, metric

),

loss_pairs as (

    select
        task,
        model_version,
        other_version,
        metric,
        n_shared,
        {{ ratio('sum_loss', 'n_shared') }} as metric_value,
        {{ ratio('sum_other_loss', 'n_shared') }} as other_value,
        {{ ratio('(sum_loss - sum_other_loss)', 'n_shared') }} as difference,
        -- Of the mean of the differences, from their sample variance.
        sqrt({{ ratio(
            '(n_shared * sum_squared_difference'
            ~ ' - (sum_loss - sum_other_loss) * (sum_loss - sum_other_loss))',
            '(1.0 * n_shared * n_shared * (n_shared - 1))'
        ) }}) as standard_error,
        n_shared - 1 as degrees_of_freedom,
        first_prediction_date,
        last_prediction_date
    from loss_sums
    where n_shared > 0

),

rank_sums as (

    select
        *,
        -- Placements are counted twice over.
        2.0 * n_positives * n_negatives as n_pairs,
        sum_placement - sum_other_placement as sum_difference
    from ranks

),

rank_pairs as (

    select
        rank_sums.task,
        rank_sums.model_version,
        rank_sums.other_version,
        'roc_auc' as metric,
        loss_pairs.n_shared,
        {{ ratio('rank_sums.sum_placement', 'rank_sums.n_pairs') }} as metric_value,
        {{ ratio('rank_sums.sum_other_placement', 'rank_sums.n_pairs') }} as other_value,
        {{ ratio('rank_sums.sum_difference', 'rank_sums.n_pairs') }} as difference,
        -- DeLong, DeLong and Clarke-Pearson (1988): what the differences of placement among the
        -- positives vary by, and those among the negatives.
        sqrt(
            {{ ratio(
                '(rank_sums.n_positives * rank_sums.sum_squared_positive_difference'
                ~ ' - rank_sums.sum_difference * rank_sums.sum_difference)',
                '(rank_sums.n_pairs * rank_sums.n_pairs * (rank_sums.n_positives - 1))'
            ) }} + {{ ratio(
                '(rank_sums.n_negatives * rank_sums.sum_squared_negative_difference'
                ~ ' - rank_sums.sum_difference * rank_sums.sum_difference)',
                '(rank_sums.n_pairs * rank_sums.n_pairs * (rank_sums.n_negatives - 1))'
            ) }}
        ) as standard_error,
        -- The areas are as good as normal.
        cast(null as bigint) as degrees_of_freedom,
        loss_pairs.first_prediction_date,
        loss_pairs.last_prediction_date
    from rank_sums
    inner join loss_pairs
        on
            rank_sums.task = loss_pairs.task
            and rank_sums.model_version = loss_pairs.model_version
            and rank_sums.other_version = loss_pairs.other_version
            and loss_pairs.metric = 'log_loss'

),

pairs as (

    select * from loss_pairs
    union all
    select * from rank_pairs

),

-- Seen from the champion.
compared as (

    select
        champions.task,
        champions.model_version,
        pairs.other_version,
        pairs.metric,
        pairs.n_shared,
        pairs.metric_value,
        pairs.other_value,
        pairs.difference,
        pairs.standard_error,
        pairs.degrees_of_freedom,
        pairs.first_prediction_date,
        pairs.last_prediction_date
    from champions
    inner join pairs
        on
            champions.task = pairs.task
            and champions.model_version = pairs.model_version

    union all

    select
        champions.task,
        champions.model_version,
        pairs.model_version as other_version,
        pairs.metric,
        pairs.n_shared,
        pairs.other_value as metric_value,
        pairs.metric_value as other_value,
        0 - pairs.difference as difference,
        pairs.standard_error,
        pairs.degrees_of_freedom,
        pairs.first_prediction_date,
        pairs.last_prediction_date
    from champions
    inner join pairs
        on
            champions.task = pairs.task
            and champions.model_version = pairs.other_version

),

deviates as (

    select
        *,
        case
            when metric = 'roc_auc' then {{ normal_quantile('0.975') }}
            else {{ student_t_quantile('0.975', 'degrees_of_freedom') }}
        end
        -- Differences that are all alike say nothing of how they vary.
        * nullif(standard_error, 0) as margin,
        {{ ratio('difference', 'standard_error') }} as deviate
    from compared

),

final as (

    select
        compared.task,
        compared.model_version,
        compared.other_version,
        coalesce(models.status, 'external') as other_status,
        compared.metric,
        case
            when abs(compared.difference) > compared.margin
                then case
                    when (compared.difference > 0) = (compared.metric = 'roc_auc') then 'better'
                    else 'worse'
                end
            when compared.margin is not null then 'undecided'
        end as verdict,

        compared.n_shared,
        compared.metric_value,
        compared.other_value,
        compared.difference,
        compared.difference - compared.margin as difference_lower,
        compared.difference + compared.margin as difference_upper,
        case
            when compared.metric = 'roc_auc' then {{ normal_p_value('compared.deviate') }}
            else {{ student_t_p_value('compared.deviate', 'compared.degrees_of_freedom') }}
        end as p_value,

        compared.first_prediction_date,
        compared.last_prediction_date

    from deviates as compared
    left join models
        on
            compared.task = models.task
            and compared.other_version = models.model_version

)

select * from final
