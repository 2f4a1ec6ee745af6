{% macro slice_values() -%}
    {#- A case must have a condition, and no task may have slices. -#}
    case task
        when null then null
        {%- for name, entry in prediction_tasks().items() if entry.get('slices') %}
        when {{ sql_literal(name, 'text') }} then array[
            'all', arm
            {%- for slice in entry.slices -%}
                , coalesce({{ json_text('attributes', sql_literal(slice, 'text')) }}, 'unknown')
            {%- endfor -%}
        ]
        {%- endfor %}
        else array['all', arm]
    end
{%- endmacro %}
