{% macro newcombe_bound(successes, trials, control_successes, control_trials, side) -%}
    {%- set other_side = 'upper' if side == 'lower' else 'lower' -%}
    (
        with newcombe_input as materialized (
            select
                {{ ratio(successes, trials) }} as p,
                {{ wilson_bound(successes, trials, side) }} as bound,
                {{ ratio(control_successes, control_trials) }} as control_p,
                {{ wilson_bound(control_successes, control_trials, other_side) }} as control_bound
        )

        select
            p - control_p {{ '-' if side == 'lower' else '+' }}
            sqrt(power(p - bound, 2) + power(control_p - control_bound, 2))
        from newcombe_input
    )
{%- endmacro %}
