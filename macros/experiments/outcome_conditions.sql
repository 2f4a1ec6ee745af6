{% macro outcome_conditions() -%}
    {#- Zeros change no sum, and most people bring nothing. -#}
    label_status = 'mature' as is_mature,
    label_status = 'mature' and n_outcomes > 0 as is_converted,
    label_status = 'mature' and outcome_amount != 0 as has_revenue,
    label_status = 'mature' and redeemed_amount != 0 as has_redeemed
{%- endmacro %}
