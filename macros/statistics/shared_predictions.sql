{% macro shared_predictions(alias) -%}
    unnest({{ alias }}.labels, {{ alias }}.answers, {{ alias }}.other_answers)
{%- endmacro %}
