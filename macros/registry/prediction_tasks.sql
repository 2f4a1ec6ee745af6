{% macro prediction_tasks() %}
    {%- set fields = {
        'kind': ['binary', 'regression', 'clustering'],
        'entity': ['user', 'session'],
        'label_rule': ['occurs', 'absent', 'sum_amount'],
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
        {%- set has_label = task.kind != 'clustering' -%}
        {%- for field, allowed in fields.items() -%}
            {%- if (has_label or field != 'label_rule') and task.get(field) not in allowed -%}
                {%- do registry_error(
                    where ~ "." ~ field, task.get(field), "one of " ~ allowed | join(", ")
                ) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if has_label -%}
            {%- do registry_check_name(where ~ ".outcome_event", task.get('outcome_event')) -%}
            {%- do registry_check_number(where ~ ".horizon_days", task.get('horizon_days'), 0, none, strictly=true) -%}
        {%- endif -%}
        {%- if not has_label -%}
            {%- for field in ['outcome_event', 'label_rule', 'horizon_days'] if field in task -%}
                {%- do registry_error(where, field, "a field of a clustering task") -%}
            {%- endfor -%}
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
            {%- if task.label_rule == 'sum_amount' -%}
                {%- do registry_error(
                    where ~ ".label_rule", task.label_rule, "occurs or absent for a binary task"
                ) -%}
            {%- endif -%}
        {%- endif -%}
        {%- if name in (var('experiments') or {}) -%}
            {%- do registry_error(where, name, "a name that no experiment has") -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(tasks) -}}
{% endmacro %}
