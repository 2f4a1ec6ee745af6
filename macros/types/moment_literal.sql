{% macro moment_literal(value) -%}
    {#- A day begins at its midnight in the reporting time zone, as does a moment without a zone. -#}
    {%- if value is none -%}
        cast(null as timestamptz)
    {%- elif modules.re.search('(Z|[+-]\\d\\d(:?\\d\\d)?)$', (value | string)[10:]) -%}
        cast('{{ value }}' as timestamptz)
    {%- else -%}
        cast('{{ value }}' as timestamp) at time zone '{{ var("reporting_timezone") }}'
    {%- endif -%}
{%- endmacro %}
