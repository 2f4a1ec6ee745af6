{% macro student_t_as_normal(t, degrees_of_freedom) -%}
    {%- set nu = "nullif(cast(" ~ degrees_of_freedom ~ " as double precision), 0)" -%}
    {%- set a = "(" ~ nu ~ " - 0.5)" -%}
    {%- set z = "sqrt(" ~ a ~ " * ln(1 + " ~ squared(t) ~ " / " ~ nu ~ "))" -%}
    {#- The series is for many degrees of freedom, like that of the quantile. -#}
    case when {{ nu }} >= 5 then
        sign({{ t }}) * ({{ z }} + (power({{ z }}, 3) + 3 * {{ z }}) / (48 * power({{ a }}, 2)))
    end
{%- endmacro %}
