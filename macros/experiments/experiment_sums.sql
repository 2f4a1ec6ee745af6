{% macro experiment_sums() %}
    {{- return([
        'n_assigned', 'n_pending', 'n_mature', 'n_converted', 'sum_revenue',
        'sum_squared_revenue', 'sum_redeemed', 'sum_squared_redeemed', 'sum_revenue_redeemed',
    ]) -}}
{% endmacro %}
