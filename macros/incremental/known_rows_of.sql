{% macro known_rows_of(new_rows, key, columns, parent) -%}
    select
        {% for name in key + columns %}
        known.{{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ new_rows }}
    inner join {{ this }} as known
        on
            {% for name in key %}
            {{ 'and ' if not loop.first }}{{ new_rows }}.{{ name }} = known.{{ name }}
            {% endfor %}
    where {{ holds_what_was_seen(parent, this) }}
{%- endmacro %}
