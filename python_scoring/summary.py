"""What a person wants to see on the terminal, read from the marts."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from rich.console import Console

from python_scoring.settings import Settings
from python_scoring.status import (
    make_table,
    metrics_in_words,
    print_alerts,
    print_intake,
    read_alerts,
    read_intake,
)


def print_summary(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print what came in, how good each champion is, and what the coupons did."""
    print_intake(console, read_intake(connection, settings))
    for model in _rows(
        connection,
        f"select * from {settings.relation('shared', 'dim_model_versions')} "
        "where status = 'champion' order by task",
    ):
        _print_champion(console, connection, settings, model)
    _print_uplift(console, connection, settings)
    console.print()
    print_alerts(console, read_alerts(connection, settings))
    console.print("\n[bold]Where to go from here[/bold]")
    for purpose, command in (
        ("SQL", ".venv/bin/leadlight db psql"),
        ("docs site", "make docs"),
        ("how it stands", ".venv/bin/leadlight status"),
        ("stop the server", ".venv/bin/leadlight db stop"),
    ):
        console.print(f"  {purpose:<16}{command}", soft_wrap=True)


def _print_champion(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print what a champion won by, and what the marts know of it."""
    n_trials = _rows(
        connection,
        "select count(*) as n from scoring.training_trials where task = %s and model_version = %s",
        [model.task, model.model_version],
    )[0].n
    console.print(
        f"\n[bold]{model.task}[/bold]  champion {model.model_version}: "
        f"{model.algorithm.replace('_', ' ')}, the best of {n_trials} trials on "
        f"{model.n_training_rows:,} rows",
        soft_wrap=True,
    )
    if model.judged_from is None:
        console.print(f"  {metrics_in_words(model.metrics)}", soft_wrap=True)
        _print_segments(console, connection, settings, model)
        return
    console.print(
        f"  on the {model.n_out_of_time_rows:,} rows since {model.judged_from:%Y-%m-%d}, which it "
        f"had not seen: {metrics_in_words(model.metrics)}",
        soft_wrap=True,
    )
    if model.out_of_time_roc_auc is not None:
        _print_confusion_matrix(console, connection, settings, model)


def _print_confusion_matrix(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print calibration error and confusion matrix of a classifier's out-of-time rows."""
    key = [model.task, model.model_version]
    where = (
        "where task = %s and model_version = %s and run_kind = 'backtest' and slice_name = 'all'"
    )
    calibration_error = _rows(
        connection,
        "select max(expected_calibration_error) as error "
        f"from {settings.relation('metrics', 'fct_classifier_metrics')} {where} "
        "and window_name = 'all_time'",
        key,
    )[0].error
    counts = _rows(
        connection,
        "select sum(n_true_positives)::bigint as tp, sum(n_false_positives)::bigint as fp, "
        "sum(n_true_negatives)::bigint as tn, sum(n_false_negatives)::bigint as fn "
        f"from {settings.relation('metrics', 'fct_confusion_matrix_daily')} {where}",
        key,
    )[0]
    if counts.tp is None:
        return
    console.print(f"  calibration error (ECE) {calibration_error:.4f}")
    table = make_table(None, "", "it did happen", "it did not")
    table.add_row("predicted to happen", f"{counts.tp:,}", f"{counts.fp:,}")
    table.add_row("predicted not to", f"{counts.fn:,}", f"{counts.tn:,}")
    console.print(table)


def _print_segments(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print the segments of a clustering with their names and sizes."""
    table = make_table(None, "segment", "entities", "share")
    for row in _rows(
        connection,
        "select distinct segment, segment_name, n_entities, share "
        f"from {settings.relation('models', 'fct_segment_profiles')} "
        "where task = %s and model_version = %s order by segment",
        [model.task, model.model_version],
    ):
        table.add_row(
            f"{row.segment} {row.segment_name}", f"{row.n_entities:,}", f"{row.share:.0%}"
        )
    console.print(table)


def _print_uplift(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print what each paying arm did against its control, with 95 % intervals."""
    for row in _rows(
        connection,
        f"select * from {settings.relation('metrics', 'fct_coupon_uplift')} "
        "order by experiment, arm",
    ):
        console.print(
            f"\n[bold]{row.experiment}[/bold]  {row.arm} against {row.control_arm}: "
            f"{row.n_mature:,} and {row.control_n_mature:,} leads with a known outcome, "
            f"{row.n_pending + row.control_n_pending:,} pending",
            soft_wrap=True,
        )
        if row.conversion_difference is None:
            console.print("  no comparison yet: an arm has no lead with a known outcome")
            continue
        console.print(
            f"  conversion {row.conversion_rate:.2%} against {row.control_conversion_rate:.2%}: "
            f"{100 * row.conversion_difference:+.2f} points "
            f"[{100 * row.conversion_difference_lower:+.2f}, "
            f"{100 * row.conversion_difference_upper:+.2f}]",
            soft_wrap=True,
            markup=False,
        )
        if row.incremental_revenue_lower is not None:
            console.print(
                f"  revenue so far because of it: {row.incremental_revenue:,.0f} "
                f"[{row.incremental_revenue_lower:,.0f}, {row.incremental_revenue_upper:,.0f}]",
                soft_wrap=True,
                markup=False,
            )


def _rows(connection: psycopg.Connection, query: str, parameters: list | None = None) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
