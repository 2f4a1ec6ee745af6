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
        histograms.window_name,
        histograms.window_start_date,
        histograms.window_end_date,
        histograms.change_number,
        bins.binning,
        bins.calibration_bin,
        bins.score_from,
        bins.score_to,
        bins.n_mature,
        bins.n_positives,
        {{ ratio('bins.sum_score', 'bins.n_mature') }} as mean_score,
        {{ ratio('bins.n_positives', 'bins.n_mature') }} as observed_rate,
        {{ wilson_bound('bins.n_positives', 'bins.n_mature', 'lower') }} as observed_rate_lower,
        {{ wilson_bound('bins.n_positives', 'bins.n_mature', 'upper') }} as observed_rate_upper

    from histograms
    cross join lateral (

        with score_bins as (

            select
                *,
                {{ histogram_bin_edge('score_bin') }} as edge,
                {{ histogram_bin_edge('score_bin + 1') }} as next_edge,
                sum(n_mature) over (order by score_bin) - n_mature / 2.0 as n_up_to_its_middle,
                sum(n_mature) over () as all_mature
            from {{ histogram_bins('histograms') }}

        )

        -- Also where nothing is mature yet, so that no day is without a row.
        select
            'equal_width' as binning,
            {{ score_bin('edge', 10) }} as calibration_bin,
            {{ ratio(score_bin('edge', 10), 10) }} as score_from,
            {{ ratio('(' ~ score_bin('edge', 10) ~ ' + 1)', 10) }} as score_to,
            sum(n_mature) as n_mature,
            sum(n_positives) as n_positives,
            sum(sum_mature_score) / cast(1e12 as double precision) as sum_score
        from score_bins
        group by {{ score_bin('edge', 10) }}

        union all

        -- A bin of the histogram belongs to the tenth of the predictions that its middle one is in.
        select
            'equal_mass' as binning,
            cast(floor(10 * n_up_to_its_middle / all_mature) as integer) as calibration_bin,
            min(edge) as score_from,
            max(next_edge) as score_to,
            sum(n_mature) as n_mature,
            sum(n_positives) as n_positives,
            sum(sum_mature_score) / cast(1e12 as double precision) as sum_score
        from score_bins
        where n_mature > 0
        group by floor(10 * n_up_to_its_middle / all_mature)

    ) as bins

)

select * from final
