{% test expect_column_values_to_match_regex(
    model, column_name, regex, row_condition=none, is_raw=false, flags=''
) %}

{#- is_raw changes nothing: Postgres takes the backslashes of a plain string literally. -#}
select *
from {{ model }}
where
    not coalesce(regexp_like({{ column_name }}, '{{ regex }}', '{{ flags }}'), false)
    {%- if row_condition %}
    and ({{ row_condition }})
    {%- endif %}

{% endtest %}
