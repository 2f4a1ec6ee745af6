"""The section of a task that answers with an amount."""

from __future__ import annotations

from collections.abc import Sequence

from python_scoring.report import charts, words
from python_scoring.report.figures import Column, Figure, Group, Section, Stat, Table, figure
from python_scoring.report.marts import Marts, Row
from python_scoring.report.models import (
    Shown,
    about,
    curves_of_features,
    drift_of_features,
    importances,
    labels_by_day,
)


def section(marts: Marts, task: Row, shown: Shown) -> Section:
    """Return the section of a regression."""
    rows = [
        row
        for row in marts.rows(
            "metrics",
            "fct_regression_metrics_daily",
            "prediction_date",
            **shown.key,
            slice_name="all",
        )
        if row["n_mature"]
    ]
    return about(
        marts,
        task,
        shown,
        stats=_stats(shown, rows),
        groups=(
            Group("Day by day", _days(marts, shown, rows)),
            Group(
                "What has moved",
                [drift_of_features(marts, shown), labels_by_day(marts, shown, has_classes=False)],
            ),
            Group(
                "What it goes by",
                [
                    importances(marts, shown, "squared error"),
                    *curves_of_features(
                        marts, shown, "mean prediction, in the unit of amount", ",~r"
                    ),
                ],
            ),
        ),
    )


def _stats(shown: Shown, rows: list[Row]) -> list[Stat]:
    judged = [
        Stat(f"{words.title(name)} when judged", words.fine(value), "on rows it had not seen")
        for name, value in (shown.model["metrics"] or {}).items()
    ]
    if not rows:
        return judged
    newest = rows[-1]
    on = f"on {words.day(newest['prediction_date'])}, the newest day with known outcomes"
    return [
        Stat("Mean absolute error", words.fine(newest["mean_absolute_error"]), on),
        Stat("Root mean squared error", words.fine(newest["root_mean_squared_error"]), on),
        Stat("R²", words.decimal(newest["r_squared"]), on),
        Stat("Bias", words.gain(newest["bias"]), on),
        *judged,
    ]


def _days(marts: Marts, shown: Shown, rows: list[Row]) -> list[Figure]:
    pending = shown.pending_days(marts, shown.run_kind)
    columns = (
        Column("day", "prediction_date", words.day),
        Column("known", "n_mature", words.count),
        Column("pending", "n_pending", words.count),
        Column("mean amount", "mean_actual", words.money),
        Column("bias", "bias", words.gain),
        Column("MAE", "mean_absolute_error", words.fine),
        Column("RMSE", "root_mean_squared_error", words.fine),
        Column("R²", "r_squared", words.decimal),
    )

    def errors(rows: Sequence[Row]) -> Figure:
        both = [
            {"day": row["prediction_date"], "value": row[key], "what": what}
            for key, what in (
                ("root_mean_squared_error", "root mean squared error"),
                ("mean_absolute_error", "mean absolute error"),
            )
            for row in rows
        ]
        return Figure(
            "Lower is better; the squared error rises first where a few large amounts are missed. "
            "Shaded days still wait for outcomes.",
            charts.daily(
                both,
                f"Errors of {shown.name} by day",
                day="day",
                y=("value", "error, in the unit of amount", ",~r"),
                series="what",
                pending=pending,
                wide=True,
            ),
            Table.of(rows, *columns),
        )

    def bias(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Above zero the predictions are too high on average, below it too low; a run of days "
            "on one side calls for a new training.",
            charts.daily(
                rows,
                f"Bias of {shown.name} by day",
                day="prediction_date",
                y=("bias", "mean of predicted less actual, in the unit of amount", ",~r"),
                pending=pending,
                lines=(0,),
            ),
            Table.of(rows, *columns),
        )

    return [
        figure("How far off, by day", rows, shown.waiting, errors, columns=2),
        figure("Bias by day", rows, shown.waiting, bias),
    ]
