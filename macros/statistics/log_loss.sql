{% macro log_loss(score, is_positive) -%}
    {#- Scores of 0 and 1 are moved by the spacing of doubles at 1, as scikit-learn does. -#}
    {%- set epsilon = "cast(2.220446049250313e-16 as double precision)" -%}
    (-ln(greatest({{ epsilon }}, least(
        1 - {{ epsilon }}, case when {{ is_positive }} then {{ score }} else 1 - {{ score }} end
    ))))
{%- endmacro %}
