"""How things stand: alerts, freshness, the last runs, champions, and what waits for its label."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from python_scoring.settings import Settings

STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def read_status(connection: psycopg.Connection, settings: Settings) -> dict[str, Any]:
    """Return how things stand, each part as rows by the names of their columns."""
    return {
        "alerts": read_alerts(connection, settings),
        "freshness": _read_freshness(connection),
        "runs": _read_runs(connection),
        "champions": read_models(connection, "where status = 'champion'"),
        "labels": _read_labels(connection, settings),
        "events": read_intake(connection, settings),
    }


def has_open_error(status: dict[str, Any]) -> bool:
    """Return whether somebody is wanted now."""
    return any(alert["severity"] == "error" for alert in status["alerts"])


def read_alerts(connection: psycopg.Connection, settings: Settings) -> list[dict[str, Any]]:
    """Return each broken rule, the gravest first."""
    return _rows(
        connection,
        f"select * from {settings.relation('metrics', 'fct_alerts')} order by "
        "array_position(array['error', 'warning', 'info'], severity), since_date, alert_id",
    )


def _read_freshness(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return when each thing that should go on coming came last, and seconds since then."""
    return _rows(
        connection,
        """
        select thing, newest_at, extract(epoch from now() - newest_at)::float8 as seconds_ago
        from (
            values
            (1, 'events', (select max(loaded_at) from tracking.events)),
            (2, 'predictions', (select max(loaded_at) from scoring.predictions)),
            (3, 'assignments', (select max(loaded_at) from scoring.assignments)),
            (4, 'metrics', (
                select max(finished_at) from scoring.runs
                where status = 'succeeded' and details ? 'post'
            ))
        ) as newest (position, thing, newest_at)
        order by position
        """,
    )


def _read_runs(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return the last runs of the job, the newest first."""
    return _rows(
        connection,
        "select run_id, command, status, started_at, finished_at, "
        "extract(epoch from finished_at - started_at)::float8 as seconds, error "
        "from scoring.runs order by run_id desc limit 5",
    )


def read_models(
    connection: psycopg.Connection, where: str = "", parameters: list[str] | None = None
) -> list[dict[str, Any]]:
    """Return trained versions with the metrics that each was judged by, without the artifact."""
    return _rows(
        connection,
        "select task, model_version, status, algorithm, trained_at, metrics, reason "
        f"from scoring.models {where} order by task, trained_at desc",
        parameters,
    )


def _read_labels(connection: psycopg.Connection, settings: Settings) -> list[dict[str, Any]]:
    """Return how many live predictions of each version have their label, and how many wait."""
    return _rows(
        connection,
        "select task, model_version, sum(n_mature)::bigint as n_mature, "
        "sum(n_pending)::bigint as n_pending, max(prediction_date) as newest_date, "
        "max(complete_at) filter (where not is_complete) as complete_at "
        f"from {settings.relation('metrics', 'fct_label_maturity')} "
        "where run_kind = 'live' group by task, model_version order by task, newest_date desc",
    )


def read_intake(connection: psycopg.Connection, settings: Settings) -> dict[str, Any]:
    """Return how many deliveries became events, and why the others did not."""
    events = settings.relation("intermediate", "int_events")
    quarantined = settings.relation("intermediate", "int_events_quarantined")
    intake = _rows(
        connection,
        "select *, n_received - n_kept - n_quarantined as n_duplicates from (select "
        "(select count(*) from tracking.events) as n_received, "
        f"(select count(*) from {events}) as n_kept, "
        f"(select count(*) from {quarantined}) as n_quarantined) as counts",
    )[0]
    intake["quarantined"] = _rows(
        connection,
        f"select rejection_reason, count(*) as n from {quarantined} "
        "group by rejection_reason order by n desc, rejection_reason",
    )
    intake["unknown_types"] = _rows(
        connection,
        f"select event_type, count(*) as n from {events} where not is_known_type "
        "group by event_type order by n desc, event_type",
    )
    return intake


def print_status(console: Console, status: dict[str, Any]) -> None:
    """Print how things stand, what is wrong first."""
    print_alerts(console, status["alerts"])

    table = make_table("Freshness", "what", "newest", "ago")
    for row in status["freshness"]:
        if row["newest_at"] is None:
            table.add_row(row["thing"], "never", "")
        else:
            table.add_row(
                row["thing"], f"{row['newest_at']:%Y-%m-%d %H:%M}", _in_words(row["seconds_ago"])
            )
    console.print(table)

    table = make_table("Last runs", "run", "command", "status", "started", "took")
    for run in status["runs"]:
        took = "" if run["seconds"] is None else f"{run['seconds']:.1f} s"
        started = f"{run['started_at']:%Y-%m-%d %H:%M}"
        table.add_row(str(run["run_id"]), run["command"], run["status"], started, took)
    console.print(table)
    for run in status["runs"]:
        if run["error"]:
            console.print(f"run {run['run_id']} {run['status']}: {run['error']}", markup=False)

    print_models(console, status["champions"])

    table = make_table(
        "Live predictions", "task", "version", "labelled", "pending", "newest", "complete"
    )
    for row in status["labels"]:
        table.add_row(
            row["task"],
            row["model_version"],
            f"{row['n_mature']:,}",
            f"{row['n_pending']:,}",
            f"{row['newest_date']:%Y-%m-%d}",
            f"{row['complete_at']:%Y-%m-%d}" if row["complete_at"] else "",
        )
    console.print(table)
    print_intake(console, status["events"])


def print_alerts(console: Console, alerts: list[dict[str, Any]]) -> None:
    """Print how many rules are broken, and each of them."""
    counts = {severity: 0 for severity in STYLES}
    for alert in alerts:
        counts[alert["severity"]] += 1
    told = ", ".join(
        f"[{STYLES[severity]}]{n} {severity}[/]" for severity, n in counts.items() if n
    )
    console.print(f"[bold]Alerts[/bold]  {told or 'none'}")
    for alert in alerts:
        console.print(
            f"  [{STYLES[alert['severity']]}]{alert['severity']:<8}[/] "
            f"since {alert['since_date']}  {escape(alert['message'])}",
            soft_wrap=True,
        )


def print_models(console: Console, models: list[dict[str, Any]]) -> None:
    """Print trained versions with the metrics that each was judged by."""
    table = make_table("Models", "task", "version", "status", "trained", "judged by")
    table.columns[-1].justify = "left"
    for model in models:
        table.add_row(
            model["task"],
            model["model_version"],
            model["status"],
            f"{model['trained_at']:%Y-%m-%d}",
            metrics_in_words(model["metrics"]),
        )
    console.print(table)


def metrics_in_words(metrics: dict[str, float | None]) -> str:
    """Return metrics in words, those that could not be computed aside."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in metrics.items()
        if value is not None
    )


def print_intake(console: Console, intake: dict[str, Any]) -> None:
    """Print how many deliveries became events, and why the others did not."""
    console.print(
        f"\n[bold]Events[/bold]  {intake['n_received']:,} received = {intake['n_kept']:,} kept "
        f"+ {intake['n_duplicates']:,} duplicates + {intake['n_quarantined']:,} quarantined",
        soft_wrap=True,
    )
    for row in intake["quarantined"]:
        console.print(f"  {row['n']:>8,}  {row['rejection_reason']}")
    for row in intake["unknown_types"]:
        console.print(f"  {row['n']:>8,}  of unknown type {row['event_type']}, kept", markup=False)


def make_table(title: str | None, *columns: str) -> Table:
    """Return an empty table, its first column to the left, the others to the right."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE, title_style="bold", pad_edge=False
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _in_words(seconds: float) -> str:
    """Return a length of time in words, such as `3 h`."""
    hours = seconds / 3600
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _rows(
    connection: psycopg.Connection, query: str, parameters: list[str] | None = None
) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
