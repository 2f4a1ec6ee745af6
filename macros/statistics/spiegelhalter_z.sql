{% macro spiegelhalter_z(n_positives, sum_positive_score, sum_1, sum_2, sum_3, sum_4) -%}
    {%- set variance = sum_1 ~ " - 5 * " ~ sum_2 ~ " + 8 * " ~ sum_3 ~ " - 4 * " ~ sum_4 -%}
    {#- Where every score is 0, a half or 1, nothing is left to chance that the test could see. -#}
    case when {{ variance }} > 0 then
        cast({{ n_positives }} - 2 * {{ sum_positive_score }} - {{ sum_1 }} + 2 * {{ sum_2 }}
            as double precision)
        / sqrt(cast({{ variance }} as double precision))
    end
{%- endmacro %}
