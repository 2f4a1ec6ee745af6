{% macro student_t_quantile_975(degrees_of_freedom) -%}
    {%- set nu = "nullif(cast(" ~ degrees_of_freedom ~ " as double precision), 0)" -%}
    {%- set z = normal_quantile_975() -%}
    {#- The series is for many degrees of freedom; below five it is off by more than 0.2 %. -#}
    case when {{ nu }} >= 5 then (
        {{ z }}
        + (power({{ z }}, 3) + {{ z }}) / (4 * {{ nu }})
        + (5 * power({{ z }}, 5) + 16 * power({{ z }}, 3) + 3 * {{ z }})
        / (96 * power({{ nu }}, 2))
        + (
            3 * power({{ z }}, 7) + 19 * power({{ z }}, 5) + 17 * power({{ z }}, 3) - 15 * {{ z }}
        ) / (384 * power({{ nu }}, 3))
    ) end
{%- endmacro %}
