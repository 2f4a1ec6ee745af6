{% macro analyze_once() -%}
    {#- The planner knows nothing of a table that was just created, until autovacuum comes by; later
        increments change little. -#}
    {%- if not is_incremental() -%}
        analyze {{ this }}
    {%- endif -%}
{%- endmacro %}
