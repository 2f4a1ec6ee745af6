{% macro wilson_bound(successes, trials, side) -%}
    {%- set z = normal_quantile_975() -%}
    {%- set n = "nullif(cast(" ~ trials ~ " as double precision), 0)" -%}
    {%- set p = "(" ~ successes ~ " / " ~ n ~ ")" -%}
    {#- Without rounding a bound never crosses the rate; with it, 0 and 1 may by one digit. -#}
    case when {{ trials }} > 0 then {{ 'least' if side == 'lower' else 'greatest' }}({{ p }},
        (
            {{ p }} + {{ z }} * {{ z }} / (2 * {{ n }})
            {{ '-' if side == 'lower' else '+' }} {{ z }} * sqrt(
                {{ p }} * (1 - {{ p }}) / {{ n }} + {{ z }} * {{ z }} / (4 * {{ n }} * {{ n }})
            )
        ) / (1 + {{ z }} * {{ z }} / {{ n }})
    ) end
{%- endmacro %}
