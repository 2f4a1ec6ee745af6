{% macro population_stability_index(share, reference_share) -%}
    {#- An empty cell counts as one in ten thousand, lest the logarithm of nothing be asked for. -#}
    {{ stable_sum(
        "(greatest(" ~ share ~ ", 1e-4) - greatest(" ~ reference_share ~ ", 1e-4))"
        ~ " * ln(greatest(" ~ share ~ ", 1e-4) / greatest(" ~ reference_share ~ ", 1e-4))"
    ) }}
{%- endmacro %}
