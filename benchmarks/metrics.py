"""Classification metrics of millions of predictions: builds, increments, dashboards, peers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from benchmarks import measuring, predictions
from benchmarks.server import Server
from python_scoring.dbt_runner import run_dbt

# The daily statistics, and all that is computed from them alone.
MODELS = (
    "int_classification_daily",
    "int_score_histograms",
    "int_score_histogram_daily",
    "int_evaluation_windows",
    "int_classification_windows",
    "int_score_histogram_weeks",
    "int_score_histogram_windows",
    "int_window_histograms",
    "int_histogram_metrics",
    "int_calibration_bins",
    "int_classifier_metrics",
    "fct_confusion_matrix_daily",
    "fct_classifier_metrics_daily",
    "fct_classifier_metrics",
    "fct_calibration_daily",
    "fct_calibration",
    "fct_threshold_curve",
    "fct_operating_point",
    "fct_estimated_performance_daily",
)
STATISTICS = ("int_classification_daily", "int_score_histograms", "int_score_histogram_weeks")
DASHBOARDS = {
    "fct_confusion_matrix_daily": "prediction_date >= %(since)s",
    "fct_classifier_metrics_daily": "prediction_date >= %(since)s",
    "fct_calibration_daily": "prediction_date >= %(since)s and binning = 'equal_width'",
    "fct_classifier_metrics": "true",
    "fct_calibration": "true",
    "fct_threshold_curve": "window_name = 'last_28_days'",
    "fct_operating_point": "true",
    "fct_estimated_performance_daily": "prediction_date >= %(since)s",
}
N_QUESTIONS = 40


def measure(
    server: Server, n_predictions: int, n_days: int, n_segments: int, repeats: int
) -> dict[str, Any]:
    """Generate, build, increment, ask; return what was measured, over all days and a tenth."""
    n_a_day = n_predictions // n_days
    run_dbt(server.settings, ["run"], predictions.registry())
    # The increments' new days are drawn with the rest.
    predictions.make_raw(server.connection, n_days + repeats + 1, n_a_day, n_segments)
    few_days = max(n_days // 10, predictions.HORIZON_DAYS + 2)
    return {
        "segments": n_segments,
        "days": n_days,
        "repeats": repeats,
        "tenth": _history(server, few_days, n_a_day, repeats),
        "full": _history(server, n_days, n_a_day, repeats),
        "dashboards": _dashboards(server, n_days),
        "storage": _storage(server),
        "peers": {
            name: measuring.middle(
                [server.measured("benchmarks.peers", server.uri, name) for _ in range(repeats)]
            )
            for name in ("pandas", "polars")
        },
    }


def lines(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the README's table says of it: measure, result."""
    small, full = results["tenth"], results["full"]
    build, floor = full["full_build"], full["floor_seconds"]
    increment, late = full["increment"], full["increment_late_over_a_week"]
    slowest = max(results["dashboards"].values(), key=lambda times: times["p95_ms"])
    ratio = increment["sql"] / small["increment"]["sql"]
    found = [
        (
            f"{full['predictions']:,} predictions: every classification metric, from nothing",
            f"{build['elapsed']:.1f} s",
        ),
        (
            "the same, as a multiple of `select count(*)`, which looks at an index alone; "
            "of `select count(label)`, which looks at the rows",
            f"{build['elapsed'] / floor:.0f}; {build['elapsed'] / full['rows_floor_seconds']:.0f}",
        ),
        (
            f"a new day and {increment['late_labels']:,.0f} late labels, SQL",
            f"{increment['sql']:.2f} s",
        ),
        (
            f"the same on {small['predictions']:,} predictions; ratio",
            f"{small['increment']['sql']:.2f} s; {ratio:.2f}",
        ),
        (
            "a new day and late labels of a whole week, SQL",
            f"{late['sql']:.2f} s",
        ),
        (
            "slowest dashboard query, p50 and p95",
            f"{slowest['p50_ms']:.0f} ms, {slowest['p95_ms']:.0f} ms",
        ),
        ("daily statistics, of the raw predictions", f"{100 * results['storage']['share']:.1f} %"),
        (
            "peak memory of server and dbt",
            f"{measuring.mib(build['server_mib'])}, {measuring.mib(build['client_mib'])}",
        ),
    ]
    for name, peer in results["peers"].items():
        times = f"{peer['total']:.1f} s ({peer['total'] / build['elapsed']:.2f} x)"
        found.append(
            (
                f"{name} over ADBC, a few of these metrics: time, memory",
                f"{times}, {measuring.mib(peer['client_mib'])}",
            )
        )
    return found


def _history(server: Server, n_days: int, n_a_day: int, repeats: int) -> dict[str, Any]:
    """Measure a full build of some days, and increments on top of them."""

    def build(*options: str) -> dict[str, Any]:
        return server.build(predictions.registry(), "--select", *MODELS, *options)

    predictions.make_labelled(server.connection, n_days)

    def floor(counted: str) -> float:
        query = f"select count({counted}) from {predictions.LABELLED}"
        return measuring.median_seconds(lambda: server.connection.execute(query), 5)

    floors = {"floor_seconds": floor("*"), "rows_floor_seconds": floor("label")}
    builds = [build("--full-refresh") for _ in range(repeats)]
    increments = []
    for day in range(repeats):
        n_late = predictions.add_day(server.connection, n_days + day, late_days=1)
        increments.append(build() | {"late_labels": n_late})
    n_late = predictions.add_day(server.connection, n_days + repeats, late_days=7)
    return {
        "predictions": n_days * n_a_day,
        **floors,
        "full_build": measuring.middle(builds),
        "increment": measuring.middle(increments),
        "increment_late_over_a_week": build() | {"late_labels": n_late},
    }


def _dashboards(server: Server, n_days: int) -> dict[str, Any]:
    """Measure what a dashboard asks: each mart, one task, 90 days."""
    since = predictions.FIRST_DAY + timedelta(days=n_days - 90)
    return {
        mart: _asked(
            server,
            f"select * from leadlight_metrics.{mart} where task = 'rare' and {condition}",
            {"since": since},
        )
        for mart, condition in DASHBOARDS.items()
    }


def _asked(server: Server, query: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Ask many times; return how many rows come, and how fast."""

    def ask() -> list[tuple]:
        return server.connection.execute(query, parameters).fetchall()

    times = [1000 * measuring.seconds(ask) for _ in range(N_QUESTIONS)]
    return {
        "rows": len(ask()),
        "p50_ms": measuring.percentile(times, 0.5),
        "p95_ms": measuring.percentile(times, 0.95),
    }


def _storage(server: Server) -> dict[str, float]:
    """Return sizes in MiB: the raw table without indexes, the statistics with theirs."""

    def mib(function: str, relation: str) -> float:
        query = f"select {function}(cast(%s as regclass))"
        ((size,),) = server.connection.execute(query, [relation]).fetchall()
        return size / measuring.MIB

    raw = mib("pg_table_size", "scoring.predictions")
    found = {
        name: mib("pg_total_relation_size", f"leadlight_intermediate.{name}") for name in STATISTICS
    }
    return {"raw_predictions": raw} | found | {"share": sum(found.values()) / raw}
