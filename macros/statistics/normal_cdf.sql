{% macro normal_cdf(z) -%}
    (
        with cdf_input as materialized (
            select cast({{ z }} as double precision) as z
        ),

        cdf_tails as (
            select
                z,
                {{ normal_p_value('z') }} / 2 as tail
            from cdf_input
        )

        select case when z < 0 then tail else 1 - tail end
        from cdf_tails
    )
{%- endmacro %}
