{% macro difference_margin(estimate, bound, control_estimate, control_bound) -%}
    sqrt(
        power({{ estimate }} - {{ bound }}, 2)
        + power({{ control_estimate }} - {{ control_bound }}, 2)
    )
{%- endmacro %}
