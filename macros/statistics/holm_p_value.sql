{% macro holm_p_value(p_value, rank, n, partition_by) -%}
    case when {{ p_value }} is not null then least(
        max(({{ n }} - {{ rank }} + 1) * {{ p_value }}) over (
            partition by {{ partition_by }} order by {{ rank }}
        ),
        1
    ) end
{%- endmacro %}
