"""What a person wants to see on the terminal, read from the marts."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from python_scoring.settings import Settings


def print_summary(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print what came in, how good each champion is, and what the coupons did."""
    _print_intake(console, connection, settings)
    for model in _rows(
        connection,
        f"select * from {settings.relation('shared', 'dim_model_versions')} "
        "where status = 'champion' order by task",
    ):
        _print_champion(console, connection, settings, model)
    _print_uplift(console, connection, settings)
    console.print()
    _print_alerts(console, connection, settings)
    console.print("\n[bold]Where to go from here[/bold]")
    for purpose, command in (
        ("SQL", ".venv/bin/leadlight db psql"),
        ("docs site", "make docs"),
        ("how it stands", ".venv/bin/leadlight status"),
        ("stop the server", ".venv/bin/leadlight db stop"),
    ):
        console.print(f"  {purpose:<16}{command}", soft_wrap=True)


def print_status(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print what is wrong, the last runs, the champions, and what waits for its label."""
    _print_alerts(console, connection, settings)
    runs = _rows(
        connection,
        "select *, extract(epoch from finished_at - started_at) as seconds "
        "from scoring.runs order by run_id desc limit 5",
    )
    table = _table("Last runs", "run", "command", "status", "started", "took")
    for run in runs:
        took = "" if run.seconds is None else f"{run.seconds:.1f} s"
        table.add_row(
            str(run.run_id), run.command, run.status, f"{run.started_at:%Y-%m-%d %H:%M}", took
        )
    console.print(table)
    for run in runs:
        if run.error:
            console.print(f"run {run.run_id} {run.status}: {run.error}", markup=False)

    _print_models(console, connection, "where status = 'champion'", [])

    table = _table(
        "Live predictions", "task", "version", "labelled", "pending", "newest", "complete on"
    )
    for row in _rows(
        connection,
        "select task, model_version, sum(n_mature) as n_mature, sum(n_pending) as n_pending, "
        "max(prediction_date) as newest_date, "
        "max(complete_at) filter (where not is_complete) as complete_at "
        f"from {settings.relation('metrics', 'fct_label_maturity')} "
        "where run_kind = 'live' group by task, model_version order by task, newest_date desc",
    ):
        table.add_row(
            row.task,
            row.model_version,
            f"{row.n_mature:,}",
            f"{row.n_pending:,}",
            f"{row.newest_date:%Y-%m-%d}",
            f"{row.complete_at:%Y-%m-%d}" if row.complete_at else "",
        )
    console.print(table)
    _print_intake(console, connection, settings)


def _print_alerts(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print each broken rule, the gravest first."""
    alerts = _rows(
        connection,
        "select severity, since_date, message "
        f"from {settings.relation('metrics', 'fct_alerts')} order by "
        "array_position(array['error', 'warning', 'info'], severity), since_date, alert_id",
    )
    styles = {"error": "bold red", "warning": "yellow", "info": "dim"}
    console.print("[bold]Alerts[/bold]" if alerts else "[bold]Alerts[/bold]  none")
    for alert in alerts:
        console.print(
            f"  [{styles[alert.severity]}]{alert.severity:<8}[/] since {alert.since_date}  "
            f"{escape(alert.message)}",
            soft_wrap=True,
        )


def print_models(console: Console, connection: psycopg.Connection, task: str | None) -> None:
    """Print every trained version, of one task or of all."""
    where, parameters = ("", []) if task is None else ("where task = %s", [task])
    _print_models(console, connection, where, parameters)


def _print_models(
    console: Console, connection: psycopg.Connection, where: str, parameters: list[str]
) -> None:
    """Print trained versions with the metrics that each was judged by."""
    table = _table("Models", "task", "version", "status", "trained", "judged by")
    for model in _rows(
        connection,
        f"select * from scoring.models {where} order by task, trained_at desc",
        parameters,
    ):
        table.add_row(
            model.task,
            model.model_version,
            model.status,
            f"{model.trained_at:%Y-%m-%d}",
            metrics_in_words(model.metrics),
        )
    console.print(table)


def metrics_in_words(metrics: dict[str, float | None]) -> str:
    """Return metrics in words, those that could not be computed aside."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in metrics.items()
        if value is not None
    )


def _print_intake(console: Console, connection: psycopg.Connection, settings: Settings) -> None:
    """Print how many deliveries became events, and why the others did not."""
    intake = _rows(
        connection,
        "select (select count(*) from tracking.events) as n_received, "
        f"(select count(*) from {settings.relation('intermediate', 'int_events')}) as n_kept, "
        "(select count(*) from "
        f"{settings.relation('intermediate', 'int_events_quarantined')}) as n_quarantined",
    )[0]
    n_duplicates = intake.n_received - intake.n_kept - intake.n_quarantined
    console.print(
        f"\n[bold]Events[/bold]  {intake.n_received:,} received = {intake.n_kept:,} kept "
        f"+ {n_duplicates:,} duplicates + {intake.n_quarantined:,} quarantined",
        soft_wrap=True,
    )
    for row in _rows(
        connection,
        "select rejection_reason, count(*) as n "
        f"from {settings.relation('intermediate', 'int_events_quarantined')} "
        "group by rejection_reason order by n desc, rejection_reason",
    ):
        console.print(f"  {row.n:>8,}  {row.rejection_reason}")
    for row in _rows(
        connection,
        "select event_type, count(*) as n "
        f"from {settings.relation('intermediate', 'int_events')} where not is_known_type "
        "group by event_type order by n desc, event_type",
    ):
        console.print(f"  {row.n:>8,}  of unknown type {row.event_type}, kept")


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
    table = _table(None, "", "it did happen", "it did not")
    table.add_row("predicted to happen", f"{counts.tp:,}", f"{counts.fp:,}")
    table.add_row("predicted not to", f"{counts.fn:,}", f"{counts.tn:,}")
    console.print(table)


def _print_segments(
    console: Console, connection: psycopg.Connection, settings: Settings, model: Any
) -> None:
    """Print the segments of a clustering with their names and sizes."""
    table = _table(None, "segment", "entities", "share")
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


def _table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _rows(connection: psycopg.Connection, query: str, parameters: list | None = None) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
