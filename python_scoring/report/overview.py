"""The first screen: what is wrong, what is in force, what waits, what experiments say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from python_scoring.report import experiment, words
from python_scoring.report.figures import Column, Table
from python_scoring.report.marts import Marts, Row

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class Overview:
    """What the first screen shows."""

    alerts: list[Row]
    n_alerts: list[tuple[str, int]]
    verdicts: list[dict[str, Any]]
    champions: Table
    waiting: Table
    runs: Table


def read(marts: Marts, task: str | None) -> Overview:
    """Return the overview of one task or of all."""
    alerts = _alerts(marts, task)
    return Overview(
        alerts=alerts,
        n_alerts=[
            (severity, n)
            for severity in SEVERITIES
            if (n := sum(row["severity"] == severity for row in alerts))
        ],
        verdicts=_verdicts(marts, task),
        champions=_champions(marts, task),
        waiting=_waiting(marts, task),
        runs=_runs(marts),
    )


def _runs(marts: Marts) -> Table:
    rows = marts.last_runs()
    columns = [
        Column("run", "run_id", words.count),
        Column("command", "command"),
        Column("status", "status"),
        Column("started", "started_at", words.minute),
    ]
    if any(row["error"] for row in rows):
        columns.append(Column("error", "error", words.reason))
    return Table.of(rows, *columns)


def _alerts(marts: Marts, task: str | None) -> list[Row]:
    """Return what is broken now, the gravest first; what is nobody's concerns every task."""
    experiments = marts.rows("shared", "dim_experiments", "experiment")
    owners = {row["experiment"]: row["task"] for row in experiments}
    return [
        row
        for row in marts.rows(
            "metrics",
            "fct_alerts",
            "array_position(array['error', 'warning', 'info'], severity), since_date, alert_id",
        )
        if task is None or (row["task"] or owners.get(row["experiment"])) in (None, task)
    ]


def _verdicts(marts: Marts, task: str | None) -> list[dict[str, Any]]:
    rows = marts.query(
        "select uplift.*, experiments.task, money.net_money, money.net_money_lower, "
        "money.net_money_upper "
        f"from {marts.relation('metrics', 'fct_coupon_uplift')} as uplift "
        f"inner join {marts.relation('shared', 'dim_experiments')} as experiments "
        "using (experiment) "
        f"left join {marts.relation('metrics', 'fct_coupon_money')} as money "
        "using (experiment, arm) where slice_name = 'all' and metric = 'conversion' "
        "and (%s::text is null or experiments.task = %s) order by experiment, arm",
        task,
        task,
    )
    return [
        {
            "anchor": experiment.anchor(row["experiment"], row["arm"]),
            "name": words.title(row["experiment"]),
            "arms": f"{row['arm']} against {row['control_arm']}",
            "decision": row["decision"],
            "tone": experiment.TONES.get(row["decision"], "muted"),
            "reason": row["decision_reason"],
            "distrust": None if row["is_trustworthy"] else row["untrustworthy_because"],
            "net": words.whole_gain(row["net_money"]),
            "net_interval": words.interval(
                row["net_money_lower"], row["net_money_upper"], words.whole_gain
            ),
            "points": words.points(row["difference"]),
            "points_interval": words.interval(
                row["difference_lower"], row["difference_upper"], words.points
            ),
            "known": words.count(row["n_mature"] + row["control_n_mature"]),
            "pending": words.count(row["n_pending"] + row["control_n_pending"]),
        }
        for row in rows
    ]


def _champions(marts: Marts, task: str | None) -> Table:
    rows = [
        row
        for row in marts.rows("shared", "dim_model_versions", "task", status="champion")
        if task is None or row["task"] == task
    ]
    return Table.of(
        [
            {
                **row,
                "algorithm": words.plain(row["algorithm"] or words.UNKNOWN),
                "judged": ", ".join(
                    f"{words.plain(name)} {words.fine(value)}"
                    for name, value in (row["metrics"] or {}).items()
                    if value is not None
                ),
            }
            for row in rows
        ],
        Column("task", "task"),
        Column("champion", "model_version"),
        Column("algorithm", "algorithm"),
        Column("trained", "trained_at", words.day),
        Column("rows", "n_training_rows", words.count),
        Column("judged by", "judged", words.prose),
    )


def _waiting(marts: Marts, task: str | None) -> Table:
    rows = [
        {
            **row,
            "complete": words.day(row["complete_at"])
            if row["complete_at"]
            else ("known" if row["n_mature"] else "has none"),
        }
        for row in marts.maturity(task)
        if row["run_kind"] == "live"
    ]
    return Table.of(
        rows,
        Column("task", "task"),
        Column("version", "model_version"),
        Column("labelled", "n_mature", words.count),
        Column("pending", "n_pending", words.count),
        Column("newest", "last_date", words.day),
        Column("all known on", "complete"),
    )
