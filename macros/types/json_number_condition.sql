{% macro json_number_condition() -%}
    {#- Postgres refuses to cast what a double cannot hold; of these it can hold the square too. -#}
    @.type() == "number" && (@ == 0 || (@.abs() >= 1e-100 && @.abs() <= 1e100))
{%- endmacro %}
