{% macro slices_of(alias) -%}
    {#- The names stand in the order of `slice_values`. -#}
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
        {{ alias }}.slice_values
    )
{%- endmacro %}
