{% test equal_rowcount(model, compare_model) %}

{{ config(fail_calc='diff_count') }}

select
    abs(
        (select count(*) from {{ model }})
        - (select count(*) from {{ compare_model }})
    ) as diff_count

{% endtest %}
