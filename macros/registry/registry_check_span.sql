{% macro registry_check_span(where, starts_at, ends_at) %}
    {%- set moments = [] -%}
    {%- for value in [starts_at, ends_at] -%}
        {%- set moment = modules.datetime.datetime.fromisoformat(value | string) -%}
        {%- if moment.tzinfo is none -%}
            {%- set moment = modules.pytz.timezone(var('reporting_timezone')).localize(moment) -%}
        {%- endif -%}
        {%- do moments.append(moment) -%}
    {%- endfor -%}
    {%- if moments[1] <= moments[0] -%}
        {%- do registry_error(where ~ ".ends_at", ends_at, "after its start, " ~ starts_at) -%}
    {%- endif -%}
{% endmacro %}
