{% macro new_first_events(events, event_type, moment, event_id) -%}
    select firsts.*
    from (
        select
            *,
            row_number() over (
                partition by user_id
                order by occurred_at, event_id
            ) as event_number
        from {{ events }}
        where
            event_type = {{ sql_literal(event_type, 'text') }}
            {% if is_incremental() %}
            and change_number > {{ newest_change_number(this) }}
            {% endif %}
    ) as firsts
    {% if is_incremental() %}
    left join {{ this }} as known
        on firsts.user_id = known.user_id
    {% endif %}
    where
        firsts.event_number = 1
        {% if is_incremental() %}
        and (
            known.user_id is null
            or firsts.occurred_at < known.{{ moment }}
            or (
                firsts.occurred_at = known.{{ moment }}
                and firsts.event_id < known.{{ event_id }}
            )
        )
        {% endif %}
{%- endmacro %}
