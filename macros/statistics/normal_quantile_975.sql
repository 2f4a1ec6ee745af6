{% macro normal_quantile_975() -%}
    cast(1.959963984540054 as double precision)
{%- endmacro %}
