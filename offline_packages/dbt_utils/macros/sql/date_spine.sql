{%- macro date_spine(datepart, start_date, end_date) -%}
    {#- dbt itself carries this macro with the same arguments and output. -#}
    {{ return(dbt.date_spine(datepart, start_date, end_date)) }}
{%- endmacro -%}
