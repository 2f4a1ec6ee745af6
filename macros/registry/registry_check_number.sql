{% macro registry_check_number(where, value, minimum, maximum, strictly=false) %}
    {%- if value is not number or value is boolean
        or value < minimum or (strictly and value == minimum)
        or (maximum is not none and value > maximum) -%}
        {%- set from = ("above " if strictly else "from ") ~ minimum -%}
        {%- set to = " to " ~ maximum if maximum is not none else "" -%}
        {%- do registry_error(where, value, "a number " ~ from ~ to) -%}
    {%- endif -%}
{% endmacro %}
