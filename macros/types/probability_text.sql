{% macro probability_text(expression) -%}
    case
        when {{ expression }} < 0.000001 then 'below 0.000001'
        else {{ decimal_text(expression, 6) }}
    end
{%- endmacro %}
