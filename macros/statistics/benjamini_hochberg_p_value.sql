{% macro benjamini_hochberg_p_value(p_value, rank, n, partition_by) -%}
    case when {{ p_value }} is not null then least(
        min({{ n }} * {{ p_value }} / {{ rank }}) over (
            partition by {{ partition_by }} order by {{ rank }} desc
        ),
        1
    ) end
{%- endmacro %}
