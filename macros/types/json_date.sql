{% macro json_date(column, key) -%}
    {#- Only what can be a date is cast: a birthday in another spelling must not fail a build. A day
        of the month that does not exist (31 June) rolls over into the next month. -#}
    case
        when {{ column }} ->> {{ key }} ~ '^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$'
            then to_date({{ column }} ->> {{ key }}, 'YYYY-MM') + (
                cast(right({{ column }} ->> {{ key }}, 2) as integer) - 1
            )
    end
{%- endmacro %}
