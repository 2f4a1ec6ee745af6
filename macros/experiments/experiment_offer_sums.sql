{% macro experiment_offer_sums() %}
    {{- return([
        'n_exposed_before', 'n_offered', 'n_seen', 'n_redeemed', 'n_offered_converted',
        'sum_offered',
    ]) -}}
{% endmacro %}
