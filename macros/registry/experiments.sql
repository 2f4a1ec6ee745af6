{% macro experiments() %}
    {%- set known = [
        'task', 'entity', 'eligible', 'salt', 'control_arm', 'arms', 'starts_at', 'ends_at',
        'outcome_event', 'offered_event', 'seen_event', 'redeemed_event', 'guardrails',
        'covariates', 'horizon_days', 'margin', 'minimum_effect', 'description',
    ] -%}
    {%- set experiments = var('experiments') or {} -%}
    {%- for name, experiment in experiments.items() -%}
        {%- set where = "experiments." ~ name -%}
        {%- do registry_check_key("experiments", name) -%}
        {%- do registry_check_fields(where, experiment, known) -%}
        {%- do registry_check_choice(
            where ~ ".entity", experiment.get('entity'), ['user', 'session']
        ) -%}
        {%- do registry_check_arms(where, experiment) -%}
        {%- do registry_check_name(where ~ ".outcome_event", experiment.get('outcome_event')) -%}
        {%- for field in ['offered_event', 'seen_event', 'redeemed_event']
            if experiment.get(field) is not none -%}
            {%- do registry_check_name(where ~ "." ~ field, experiment[field]) -%}
        {%- endfor -%}
        {%- for field in ['starts_at', 'ends_at'] if experiment.get(field) is not none -%}
            {%- do registry_check_moment(where ~ "." ~ field, experiment[field]) -%}
        {%- endfor -%}
        {%- if experiment.get('starts_at') is not none and experiment.get('ends_at') is not none -%}
            {%- do registry_check_span(where, experiment.starts_at, experiment.ends_at) -%}
        {%- endif -%}
        {%- do registry_check_number(
            where ~ ".horizon_days", experiment.get('horizon_days'), 0, none, strictly=true
        ) -%}
        {%- do registry_check_number(where ~ ".margin", experiment.get('margin'), 0, 1) -%}
        {%- if experiment.get('minimum_effect') is not none -%}
            {%- do registry_check_number(
                where ~ ".minimum_effect", experiment.minimum_effect, 0, none
            ) -%}
        {%- endif -%}
        {%- set guardrails = experiment.get('guardrails') or {} -%}
        {%- if guardrails is not mapping -%}
            {%- do registry_error(
                where ~ ".guardrails", guardrails, "a map from event types to rise or fall"
            ) -%}
        {%- endif -%}
        {%- for event_type, harm in guardrails.items() -%}
            {%- do registry_check_name(where ~ ".guardrails", event_type) -%}
            {%- do registry_check_choice(
                where ~ ".guardrails." ~ event_type, harm, ['rise', 'fall']
            ) -%}
        {%- endfor -%}
        {%- set covariates = experiment.get('covariates') or [] -%}
        {%- if covariates is string or covariates is mapping or covariates is not iterable
            or covariates | unique | list != covariates | list or 'score' in covariates -%}
            {%- do registry_error(
                where ~ ".covariates", covariates, "a list of distinct feature names, score aside"
            ) -%}
        {%- endif -%}
        {%- for covariate in covariates -%}
            {%- do registry_check_name(where ~ ".covariates", covariate) -%}
        {%- endfor -%}
        {%- set task = (var('prediction_tasks') or {}).get(experiment.get('task')) -%}
        {%- if experiment.get('task') is not none -%}
            {%- if task is none -%}
                {%- do registry_error(
                    where ~ ".task", experiment.task, "a task of prediction_tasks"
                ) -%}
            {%- endif -%}
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
            {%- do registry_check_name(where ~ ".salt", experiment.get('salt')) -%}
        {%- endif -%}
        {%- if covariates and (task or {}).get('features_model') is none -%}
            {%- do registry_error(
                where ~ ".covariates", covariates, "possible without a task with a features model"
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(experiments) -}}
{% endmacro %}
