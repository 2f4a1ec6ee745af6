{% macro feature_models() %}
    {%- set names = [] -%}
    {%- for task in prediction_tasks().values() if task.get('features_model') -%}
        {%- if task.features_model not in names -%}
            {%- do names.append(task.features_model) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(names) -}}
{% endmacro %}
