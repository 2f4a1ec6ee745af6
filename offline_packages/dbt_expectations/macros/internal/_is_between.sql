{%- macro _is_between(expression, min_value, max_value, strictly=false) -%}
    {%- if min_value is none and max_value is none -%}
        {{ exceptions.raise_compiler_error("Give a min_value, a max_value or both.") }}
    {%- endif -%}

    {%- set conditions = [] -%}
    {%- if min_value is not none -%}
        {%- do conditions.append(expression ~ (' > ' if strictly else ' >= ') ~ min_value) -%}
    {%- endif -%}
    {%- if max_value is not none -%}
        {%- do conditions.append(expression ~ (' < ' if strictly else ' <= ') ~ max_value) -%}
    {%- endif -%}
    {{ return('(' ~ conditions | join(' and ') ~ ')') }}
{%- endmacro -%}
