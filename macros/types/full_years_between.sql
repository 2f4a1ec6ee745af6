{% macro full_years_between(earlier, later) -%}
    cast(extract(year from age({{ later }}, {{ earlier }})) as integer)
{%- endmacro %}
