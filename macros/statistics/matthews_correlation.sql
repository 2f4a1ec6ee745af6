{% macro matthews_correlation(tp, fp, tn, fn) -%}
    (
        (
            cast({{ tp }} as double precision) * {{ tn }}
            - cast({{ fp }} as double precision) * {{ fn }}
        ) / nullif(
            sqrt(cast({{ tp }} + {{ fp }} as double precision) * ({{ tp }} + {{ fn }}))
            * sqrt(cast({{ tn }} + {{ fp }} as double precision) * ({{ tn }} + {{ fn }})),
            0
        )
    )
{%- endmacro %}
