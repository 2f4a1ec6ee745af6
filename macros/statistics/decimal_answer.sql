{% macro decimal_answer(answer) -%}
    case
        when abs({{ answer }}) <= 1e75 then trim_scale(round(cast({{ answer }} as numeric), 12))
        else cast(sign({{ answer }}) * 1e75 as numeric)
    end
{%- endmacro %}
