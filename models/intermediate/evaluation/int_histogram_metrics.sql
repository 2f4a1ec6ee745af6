-- Each histogram is unfolded by itself, so that whoever asks for some of them pays for no others.
with histograms as (

    select * from {{ ref('int_window_histograms') }}

),

final as (

    select
        histograms.task,
        histograms.model_version,
        histograms.run_kind,
        histograms.slice_name,
        histograms.slice_value,
        histograms.window_grain,
        histograms.window_name,
        histograms.window_start_date,
        histograms.window_end_date,
        histograms.change_number,
        ranks.roc_auc,
        ranks.roc_auc_variance,
        ranks.roc_auc_error_bound,
        ranks.average_precision,
        ranks.ks_statistic,
        ranks.top_decile_lift,
        calibration.expected_calibration_error,
        calibration.maximum_calibration_error,
        calibration.brier_reliability

    from histograms
    cross join
        lateral (

            with bins as (

                select
                    score_bin,
                    cast(n_positives as double precision) as n_positives,
                    cast(n_mature - n_positives as double precision) as n_negatives,
                    cast(n_mature as double precision) as n_mature
                from {{ histogram_bins('histograms') }}
                where n_mature > 0

            ),

            cumulated as (

                select
                    *,
                    sum(n_positives) over (order by score_bin) - n_positives as n_positives_below,
                    sum(n_negatives) over (order by score_bin) - n_negatives as n_negatives_below,
                    nullif(sum(n_positives) over (), 0) as all_positives,
                    nullif(sum(n_negatives) over (), 0) as all_negatives,
                    sum(n_mature) over () as all_mature
                from bins

            ),

            -- A positive and a negative of one bin tie. What DeLong, DeLong and Clarke-Pearson
            -- (1988) call the components of the area: the share of the negatives that a positive
            -- is above, and the share of the positives that a negative is below.
            components as (

                select
                    *,
                    (n_negatives_below + n_negatives / 2) / all_negatives as positive_component,
                    (all_positives - n_positives_below - n_positives / 2) / all_positives
                        as negative_component,
                    all_mature - n_positives_below - n_negatives_below as n_from_here_on,
                    -- So many of the bin belong to the tenth with the highest scores; where its end
                    -- divides a bin, it takes the bin's positives in proportion.
                    least(
                        n_mature,
                        greatest(
                            0,
                            all_mature / 10
                            - (all_mature - n_positives_below - n_negatives_below - n_mature)
                        )
                    ) / n_mature as share_in_top_decile
                from cumulated

            ),

            areas as (

                select
                    *,
                    sum(n_positives * positive_component) over () / all_positives as roc_auc
                from components

            )

            select
                min(roc_auc) as roc_auc,
                sum(n_positives * power(positive_component - roc_auc, 2))
                / nullif(min(all_positives) * (min(all_positives) - 1), 0)
                + sum(n_negatives * power(negative_component - roc_auc, 2))
                / nullif(min(all_negatives) * (min(all_negatives) - 1), 0) as roc_auc_variance,
                -- At worst half of the ties are wrong.
                sum(n_positives * n_negatives) / (2 * min(all_positives) * min(all_negatives))
                    as roc_auc_error_bound,
                sum(
                    n_positives / all_positives
                    * (all_positives - n_positives_below) / n_from_here_on
                ) as average_precision,
                max(abs(
                    (n_positives_below + n_positives) / all_positives
                    - (n_negatives_below + n_negatives) / all_negatives
                )) as ks_statistic,
                10 * sum(n_positives * share_in_top_decile) / min(all_positives)
                    as top_decile_lift
            from areas

        ) as ranks
    cross join lateral (

        -- The edges of ten bins are edges of the histogram too: nothing is approximated here.
        with tenths as (

            select
                cast(sum(n_mature) as double precision) as n_mature,
                cast(sum(n_positives) as double precision) as n_positives,
                sum(sum_mature_score) / cast(1e12 as double precision) as sum_score
            from {{ histogram_bins('histograms') }}
            where n_mature > 0
            group by {{ score_bin(histogram_bin_edge('score_bin'), 10) }}

        )

        select
            {{ stable_sum('abs(n_positives - sum_score)') }} / sum(n_mature)
                as expected_calibration_error,
            max(abs(n_positives - sum_score) / n_mature) as maximum_calibration_error,
            {{ stable_sum(squared('n_positives - sum_score') ~ ' / n_mature') }} / sum(n_mature)
                as brier_reliability
        from tenths

    ) as calibration

)

select * from final
