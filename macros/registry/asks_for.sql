{% macro asks_for(kind, task='task') -%}
    {#- A task that the registry does not know, or knows no more, may have asked for anything. -#}
    {%- set others = [] -%}
    {%- for name, entry in prediction_tasks().items() if entry.kind != kind -%}
        {%- do others.append(sql_literal(name, 'text')) -%}
    {%- endfor -%}
    {{ task ~ ' not in (' ~ others | join(', ') ~ ')' if others else 'true' }}
{%- endmacro %}
