{% macro arrived_since(relation, alias=none) -%}
    {%- set prefix = alias ~ '.' if alias else '' -%}
    {%- set newest_delivery = 'coalesce(max(seen.delivery_id), -1)' -%}
    {%- set newest_moment -%}
        coalesce(max(seen.loaded_at), cast('-infinity' as timestamptz))
        - {{ interval_of(var('late_arrival_days'), 'day') }}
    {%- endset -%}
    (
        {{ prefix }}delivery_id > {{ newest_seen(relation, newest_delivery, 'bigint') }}
        -- A transaction that began earlier may have been committed later.
        or {{ prefix }}loaded_at > {{ newest_seen(relation, newest_moment, 'timestamptz') }}
    )
{%- endmacro %}
