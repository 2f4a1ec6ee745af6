{% macro sql_literal(value, data_type) -%}
    {%- if value is none -%}
        cast(null as {{ data_type }})
    {%- elif value is string -%}
        cast({{ dbt.string_literal(dbt.escape_single_quotes(value)) }} as {{ data_type }})
    {%- else -%}
        cast({{ value }} as {{ data_type }})
    {%- endif -%}
{%- endmacro %}
