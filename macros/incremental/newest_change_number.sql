{% macro newest_change_number(relation) -%}
    {{- newest_seen(relation, 'coalesce(max(seen.change_number), -1)', 'bigint') -}}
{%- endmacro %}
