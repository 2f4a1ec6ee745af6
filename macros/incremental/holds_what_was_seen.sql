{% macro holds_what_was_seen(parent, relation) -%}
    exists (
        select 1
        from {{ parent }} as parent_rows
        where parent_rows.change_number <= {{ newest_change_number(relation) }}
    )
{%- endmacro %}
