{% macro arrived_since(relation, alias=none) -%}
    {%- set prefix = alias ~ '.' if alias else '' -%}
    (
        {{ prefix }}delivery_id
        > (select coalesce(max(seen.delivery_id), -1) from {{ relation }} as seen)
        -- A transaction that began earlier may have been committed later.
        or {{ prefix }}loaded_at > (
            select
                coalesce(max(seen.loaded_at), cast('-infinity' as timestamptz))
                - {{ interval_of(var('late_arrival_days'), 'day') }}
            from {{ relation }} as seen
        )
    )
{%- endmacro %}
