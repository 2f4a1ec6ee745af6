{% macro student_t_nodes() -%}
    {#- cosh(v)^(1 - nu) is exp((1 - nu) / 2 ln(1 + s)), and asinh(s (1 + 1 / (1 + s)) / 2) is
        ln(1 + s), to the last digit for small s too. The step and the count are such that what is
        left out is below 1e-13 of the sum for every nu. -#}
    (
        select
            s,
            exp((1 - nu) / 2 * asinh(s * (1 + 1 / (1 + s)) / 2)) as weight
        from (
            select
                student_scaled.nu,
                power(sinh((2 * k - 1) * student_scaled.step / 2), 2) as s
            from generate_series(1, cast(16 + 90 / student_scaled.nu as integer)) as student_k (k)
            offset 0
        ) as student_midpoints
    )
{%- endmacro %}
