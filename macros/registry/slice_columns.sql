{% macro slice_columns() -%}
    {%- set names = [] -%}
    {%- for task in prediction_tasks().values() -%}
        {%- for slice in (task.get('slices') or [])[(names | length):] -%}
            {%- do names.append('slice_' ~ (names | length + 1)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(names) -}}
{%- endmacro %}
