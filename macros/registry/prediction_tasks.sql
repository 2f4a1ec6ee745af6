{% macro prediction_tasks() %}
    {#- The label rules that make sense for each kind, and the fields that do not. -#}
    {%- set label_rules = {
        'binary': ['occurs', 'absent'], 'regression': ['sum_amount'], 'clustering': [],
    } -%}
    {%- set foreign_fields = {
        'binary': [],
        'regression': ['default_threshold'],
        'clustering': ['outcome_event', 'label_rule', 'horizon_days', 'default_threshold'],
    } -%}
    {%- set known = [
        'kind', 'entity', 'features_model', 'outcome_event', 'label_rule', 'horizon_days',
        'default_threshold', 'slices', 'description',
    ] -%}
    {%- set tasks = var('prediction_tasks') or {} -%}
    {%- for name, task in tasks.items() -%}
        {%- set where = "prediction_tasks." ~ name -%}
        {%- do registry_check_key("prediction_tasks", name) -%}
        {%- do registry_check_fields(where, task, known) -%}
        {%- do registry_check_choice(where ~ ".kind", task.get('kind'), label_rules | list) -%}
        {%- do registry_check_choice(where ~ ".entity", task.get('entity'), ['user', 'session']) -%}
        {%- for field in foreign_fields[task.kind] if field in task -%}
            {%- do registry_error(where, field, "a field of a " ~ task.kind ~ " task") -%}
        {%- endfor -%}
        {%- if task.kind != 'clustering' -%}
            {%- do registry_check_choice(
                where ~ ".label_rule", task.get('label_rule'), label_rules[task.kind]
            ) -%}
            {%- do registry_check_name(where ~ ".outcome_event", task.get('outcome_event')) -%}
            {%- do registry_check_number(
                where ~ ".horizon_days", task.get('horizon_days'), 0, none, strictly=true
            ) -%}
        {%- endif -%}
        {%- set slices = task.get('slices') or [] -%}
        {%- if slices is string or slices | unique | list != slices | list
            or 'all' in slices or 'arm' in slices -%}
            {%- do registry_error(
                where ~ ".slices", slices, "a list of distinct feature names, all and arm aside"
            ) -%}
        {%- endif -%}
        {%- if task.kind == 'binary' -%}
            {%- do registry_check_number(
                where ~ ".default_threshold", task.get('default_threshold'), 0, 1
            ) -%}
        {%- endif -%}
        {%- if name in (var('experiments') or {}) -%}
            {%- do registry_error(where, name, "a name that no experiment has") -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(tasks) -}}
{% endmacro %}
