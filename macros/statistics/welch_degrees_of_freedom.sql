{% macro welch_degrees_of_freedom(variance_a, n_a, variance_b, n_b) -%}
    (
        power({{ variance_a }} + {{ variance_b }}, 2) / nullif(
            power({{ variance_a }}, 2) / nullif({{ n_a }} - 1, 0)
            + power({{ variance_b }}, 2) / nullif({{ n_b }} - 1, 0),
            0
        )
    )
{%- endmacro %}
