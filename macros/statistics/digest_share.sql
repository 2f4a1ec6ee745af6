{% macro digest_share(expression) -%}
    {#- The first seven hexadecimal digits of the digest, as a share of all there can be. -#}
    (
        cast(cast('x' || left({{ dbt.hash(expression) }}, 7) as bit(28)) as integer)
        / cast(268435456 as double precision)
    )
{%- endmacro %}
