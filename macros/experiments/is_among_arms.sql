{% macro is_among_arms(arm, arms) -%}
    {{ dbt.position("'+' || " ~ arm ~ " || '+'", "'+' || " ~ arms ~ " || '+'") }} > 0
{%- endmacro %}
