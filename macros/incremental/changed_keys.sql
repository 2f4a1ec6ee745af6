{% macro changed_keys(relations, key) -%}
    {% for relation in relations %}
    select {{ key | join(', ') }}
    from {{ relation }}
    {% if is_incremental() %}
    where change_number > {{ newest_change_number(this) }}
    {% endif %}
    {{ 'union' if not loop.last }}
    {% endfor %}
{%- endmacro %}
