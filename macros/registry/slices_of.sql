{% macro slices_of(alias) -%}
    {#- The names stand in the order of the columns; a task with fewer slices has NULL in the rest.
        A case must have a condition, and no task may have slices. -#}
    unnest(
        case {{ alias }}.task
            when null then null
            {%- for name, entry in prediction_tasks().items() if entry.get('slices') %}
            when {{ sql_literal(name, 'text') }} then array[
                'all', 'arm'
                {%- for slice in entry.slices %}, {{ sql_literal(slice, 'text') }}{% endfor -%}
            ]
            {%- endfor %}
            else array['all', 'arm']
        end,
        array[
            'all', {{ alias }}.arm
            {%- for column in slice_columns() %}, {{ alias }}.{{ column }}{% endfor -%}
        ]
    )
{%- endmacro %}
