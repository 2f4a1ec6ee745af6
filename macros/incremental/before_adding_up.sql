{% macro before_adding_up() -%}
    {#- The planner takes an expression to have as many values as its columns, and sorts millions of
        rows where a few thousand groups are to be hashed. -#}
    set local enable_sort = off;
    set local enable_incremental_sort = off;
    set local work_mem = '64MB';
{%- endmacro %}
