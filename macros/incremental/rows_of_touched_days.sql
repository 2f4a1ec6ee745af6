{% macro rows_of_touched_days(rows, key) -%}
    {%- if is_incremental() -%}
    {#- Day by day through the index: left to itself, the planner would read the whole table. -#}
    select of_day.*
    from touched_days
    cross join
        lateral (
            select {{ rows }}.*
            from {{ rows }}
            where
                {% for name in key %}
                {{ 'and ' if not loop.first }}{{ rows }}.{{ name }} = touched_days.{{ name }}
                {% endfor %}
            offset 0 -- noqa: AM09
        ) as of_day
    {%- else -%}
    {#- By itself: pulled up, an expression is computed in each place that uses it. -#}
    select * from {{ rows }}
    offset 0 -- noqa: AM09
    {%- endif -%}
{%- endmacro %}
