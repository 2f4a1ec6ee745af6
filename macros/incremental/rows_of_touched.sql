{% macro rows_of_touched(rows, touched, key) -%}
    {%- if is_incremental() -%}
    {#- One by one through the index: left to itself, the planner would read the whole table. -#}
    select of_touched.*
    from {{ touched }}
    cross join
        lateral (
            select {{ rows }}.*
            from {{ rows }}
            where
                {% for name in key %}
                {{ 'and ' if not loop.first }}{{ rows }}.{{ name }} = {{ touched }}.{{ name }}
                {% endfor %}
            offset 0 -- noqa: AM09
        ) as of_touched
    {%- else -%}
    {#- By itself: pulled up, an expression is computed in each place that uses it. -#}
    select * from {{ rows }}
    offset 0 -- noqa: AM09
    {%- endif -%}
{%- endmacro %}
