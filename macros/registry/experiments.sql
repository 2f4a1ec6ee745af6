{% macro experiments() %}
    {%- set known = [
        'task', 'entity', 'eligible', 'holdout_share', 'salt', 'control_arm', 'treatment_arm',
        'offer_amount', 'outcome_event', 'horizon_days', 'margin', 'description',
    ] -%}
    {%- set experiments = var('experiments') or {} -%}
    {%- for name, experiment in experiments.items() -%}
        {%- set where = "experiments." ~ name -%}
        {%- do registry_check_key("experiments", name) -%}
        {%- do registry_check_fields(where, experiment, known) -%}
        {%- do registry_check_choice(
            where ~ ".entity", experiment.get('entity'), ['user', 'session']
        ) -%}
        {%- do registry_check_name(where ~ ".outcome_event", experiment.get('outcome_event')) -%}
        {%- do registry_check_name(where ~ ".control_arm", experiment.get('control_arm')) -%}
        {%- do registry_check_number(
            where ~ ".horizon_days", experiment.get('horizon_days'), 0, none, strictly=true
        ) -%}
        {%- do registry_check_number(where ~ ".margin", experiment.get('margin'), 0, 1) -%}
        {%- if experiment.get('task') is not none -%}
            {%- if experiment.task not in (var('prediction_tasks') or {}) -%}
                {%- do registry_error(
                    where ~ ".task", experiment.task, "a task of prediction_tasks"
                ) -%}
            {%- endif -%}
            {%- set task = var('prediction_tasks')[experiment.task] -%}
            {#- Only a binary task has scores and a threshold. -#}
            {%- do registry_check_choice(
                where ~ ".eligible",
                experiment.get('eligible'),
                ['score_below_threshold', 'all'] if task.kind == 'binary' else ['all']
            ) -%}
            {%- if experiment.entity != task.entity -%}
                {%- do registry_error(
                    where ~ ".entity", experiment.entity, "the entity of its task"
                ) -%}
            {%- endif -%}
            {%- do registry_check_name(
                where ~ ".treatment_arm", experiment.get('treatment_arm')
            ) -%}
            {%- if experiment.treatment_arm == experiment.control_arm -%}
                {%- do registry_error(
                    where ~ ".treatment_arm", experiment.treatment_arm, "another arm than control"
                ) -%}
            {%- endif -%}
            {%- do registry_check_name(where ~ ".salt", experiment.get('salt')) -%}
            {%- do registry_check_number(
                where ~ ".holdout_share", experiment.get('holdout_share'), 0, 1
            ) -%}
            {%- do registry_check_number(
                where ~ ".offer_amount", experiment.get('offer_amount'), 0, none
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(experiments) -}}
{% endmacro %}
