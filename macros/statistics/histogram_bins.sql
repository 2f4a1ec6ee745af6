{% macro histogram_bins(alias) -%}
    unnest(
        {{ alias }}.score_bins,
        {{ alias }}.n_predictions,
        {{ alias }}.n_mature,
        {{ alias }}.n_positives,
        {{ alias }}.sum_score,
        {{ alias }}.sum_mature_score
    ) as bins (score_bin, n_predictions, n_mature, n_positives, sum_score, sum_mature_score)
{%- endmacro %}
