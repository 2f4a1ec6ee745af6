{% macro newest_change_number(relation) -%}
    (select coalesce(max(seen.change_number), -1) from {{ relation }} as seen)
{%- endmacro %}
