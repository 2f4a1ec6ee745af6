{% macro histogram_bin_edge(bin) -%}
    ({{ histogram_bin_edges() }})[{{ bin }} + 1]
{%- endmacro %}
