{% macro json_scalar_text(value) -%}
    case
        when jsonb_typeof({{ value }}) in ('string', 'number', 'boolean') then {{ value }} #>> '{}'
    end
{%- endmacro %}
