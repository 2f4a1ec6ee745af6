{% macro touched_days(relation, key) -%}
    {%- set columns = key | join(', ') -%}
    {#- From one day to the next through the index; DISTINCT would read every row of the table, or
        all that are new. -#}
    with recursive days as (
        (
            select {{ columns }}
            from {{ relation }}
            order by {{ columns }}
            limit 1
        )
        union all
        select following.*
        from days
        cross join
            lateral (
                select {{ columns }}
                from {{ relation }} as later
                where
                    ({{ columns }})
                    > ({% for name in key %}days.{{ name }}{{ ', ' if not loop.last }}{% endfor %})
                order by {{ columns }}
                limit 1
            ) as following
    )

    select *
    from days
    {% if is_incremental() %}
    where
        (
            select max(of_day.change_number)
            from {{ relation }} as of_day
            where
                {% for name in key %}
                {{ 'and ' if not loop.first }}of_day.{{ name }} = days.{{ name }}
                {% endfor %}
        ) > {{ newest_change_number(this) }}
    {% endif %}
{%- endmacro %}
