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
            {{ difference_margin('p', 'bound', 'control_p', 'control_bound') }}
        from newcombe_input
    )
{%- endmacro %}
