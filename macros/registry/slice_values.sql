{% macro slice_values() -%}
    {#- Columns and no array, which takes longer to make and to compare than all that is
        counted. -#}
    {%- for column in slice_columns() %}
        {%- set position = loop.index0 %}
        case task
            {%- for name, entry in prediction_tasks().items() %}
                {%- for slice in (entry.get('slices') or [])[position:position + 1] %}
            when {{ sql_literal(name, 'text') }}
                then coalesce({{ json_text('attributes', sql_literal(slice, 'text')) }}, 'unknown')
                {%- endfor %}
            {%- endfor %}
        end as {{ column }},
    {%- endfor %}
{%- endmacro %}
