{% macro histogram_arrays() -%}
    {%- for name in [
        'score_bin', 'n_predictions', 'n_mature', 'n_positives', 'sum_score', 'sum_mature_score',
    ] -%}
        array_agg({{ name }} order by score_bin) as {{ 'score_bins' if loop.first else name }}
        {%- if not loop.last %},
        {% endif %}
    {%- endfor -%}
{%- endmacro %}
