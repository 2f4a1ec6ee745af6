{% macro normal_p_value(z) -%}
    {#- Postgres refuses a square that is too small or too large for a double. -#}
    {%- set x = "(greatest(1e-9, least(1e9, abs(" ~ z ~ "))) / 1.4142135623730951)" -%}
    {%- set t = "(1 / (1 + " ~ x ~ " / 2))" -%}
    {#- The complement of the error function, since 1 less the distribution would round a small p
        to 0. `least` and `greatest` pass over NULL. -#}
    {%- set polynomial = namespace(sql='0') -%}
    {%- for coefficient in [
        '0.17087277', '-0.82215223', '1.48851587', '-1.13520398', '0.27886807', '-0.18628806',
        '0.09678418', '0.37409196', '1.00002368', '-1.26551223',
    ] -%}
        {%- set polynomial.sql = "(" ~ coefficient ~ " + " ~ t ~ " * " ~ polynomial.sql ~ ")" -%}
    {%- endfor -%}
    case when {{ z }} is not null then
        least(1, {{ t }} * exp(greatest(-700, {{ polynomial.sql }} - {{ x }} * {{ x }})))
    end
{%- endmacro %}
