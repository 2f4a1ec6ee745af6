{% macro histogram_bin(score) -%}
    {#- Compares with the very doubles that decimal scores are, so none falls beside its bin. The
        last bin is closed: 1 is no edge here. BigQuery has the like, range_bucket. -#}
    cast(width_bucket({{ score }}, ({{ histogram_bin_edges() }})[:1080]) - 1 as smallint)
{%- endmacro %}
