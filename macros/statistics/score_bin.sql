{% macro score_bin(score, n_bins) -%}
    {#- k / n as a double is the double nearest to the decimal edge, so comparing with it mends
        the scores whose product with n was rounded across that edge. -#}
    {%- set rounded = "floor(" ~ score ~ " * " ~ n_bins ~ ")" -%}
    {%- set edge = "cast(" ~ n_bins ~ " as double precision)" -%}
    case
        when {{ score }} = 1 then {{ n_bins - 1 }}
        when {{ score }} >= ({{ rounded }} + 1) / {{ edge }} then cast({{ rounded }} as integer) + 1
        when {{ score }} < {{ rounded }} / {{ edge }} then cast({{ rounded }} as integer) - 1
        else cast({{ rounded }} as integer)
    end
{%- endmacro %}
