"""Everything that is said of an experiment of millions of assignments: builds and increments."""

from __future__ import annotations

from typing import Any

from benchmarks import assignments, measuring
from benchmarks.server import Server
from python_scoring.dbt_runner import run_dbt

# The daily statistics of labelled assignments, and all that is computed from them alone.
MODELS = (
    "int_experiment_combinations_daily",
    "int_experiment_daily",
    "int_experiment_scores_daily",
    "int_experiment_score_totals",
    "int_experiment_covariates_daily",
    "int_experiment_covariate_totals",
    "int_experiment_guardrails_daily",
    "int_experiment_windows",
    "int_experiment_comparisons",
    "int_experiment_checks",
    "fct_coupon_uplift",
    "fct_coupon_uplift_daily",
    "fct_experiment_estimates",
    "fct_experiment_checks",
    "fct_experiment_guardrails",
    "fct_coupon_money",
    "fct_coupon_compliance",
    "fct_uplift_curve",
    "fct_targeting",
)


def measure(
    server: Server, n_assignments: int, n_days: int, n_segments: int, repeats: int
) -> dict[str, Any]:
    """Generate, build, increment; return what was measured."""
    n_a_day = n_assignments // n_days
    run_dbt(server.settings, ["run"], assignments.registry())

    def build(*options: str) -> dict[str, Any]:
        return server.build(assignments.registry(), "--select", *MODELS, *options)

    assignments.make_labelled(server.connection, n_days, n_a_day, n_segments)
    builds = [build("--full-refresh") for _ in range(repeats)]
    increments = []
    for day in range(repeats):
        assignments.add_day(server.connection, n_days + day, n_a_day, n_segments)
        increments.append(build())
    return {
        "assignments": n_days * n_a_day,
        "days": n_days,
        "arms": len(assignments.ARMS),
        "segments": n_segments,
        "repeats": repeats,
        "full_build": measuring.middle(builds),
        "increment": measuring.middle(increments),
    }


def lines(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the README's table says of it: measure, result."""
    build, increment = results["full_build"], results["increment"]
    return [
        (
            f"{results['assignments']:,} assignments to {results['arms']} arms: every mart of the "
            "experiment, from nothing",
            f"{build['elapsed']:.1f} s",
        ),
        ("a new day, and a day that came of age, SQL", f"{increment['sql']:.2f} s"),
        (
            "peak memory of server and dbt",
            f"{measuring.mib(build['server_mib'])}, {measuring.mib(build['client_mib'])}",
        ),
    ]
