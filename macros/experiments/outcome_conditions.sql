{% macro outcome_conditions() -%}
    {#- Zeros change no sum, and most people bring nothing: the count is asked first, as the cheapest
        to compare. No amount is without a count. -#}
    label_status = 'mature' as is_mature,
    n_outcomes > 0 and label_status = 'mature' as is_converted,
    n_outcomes > 0 and outcome_amount != 0 and label_status = 'mature' as has_revenue,
    n_redeemed > 0 and redeemed_amount != 0 and label_status = 'mature' as has_redeemed
{%- endmacro %}
