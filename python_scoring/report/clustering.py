"""The section of a task that sorts into segments."""

from __future__ import annotations

from collections.abc import Sequence

from python_scoring.report import charts, words
from python_scoring.report.figures import Column, Figure, Group, Section, Stat, Table, figure
from python_scoring.report.marts import Marts, Row
from python_scoring.report.models import Shown, about, drift_of_features


def section(marts: Marts, task: Row, shown: Shown) -> Section:
    """Return the section of a clustering."""
    metrics = marts.rows("metrics", "fct_segment_metrics_daily", "prediction_date", **shown.key)
    return about(
        marts,
        task,
        shown,
        stats=_stats(metrics[-1]) if metrics else (),
        groups=(
            Group("Who is in which", [_profiles(marts, shown), _sizes(marts, shown)]),
            Group("How they change", [drift_of_features(marts, shown), _days(shown, metrics)]),
        ),
    )


def _stats(row: Row) -> list[Stat]:
    on = f"on {words.day(row['prediction_date'])}"
    return [
        Stat("Segments", words.count(row["n_segments"]), on),
        Stat("Entities", words.count(row["n_predictions"]), on),
        Stat(
            "Silhouette",
            words.decimal(row["silhouette"]),
            f"of a sample of {words.count(row['n_sampled'])}; more is better",
        ),
        Stat("Davies-Bouldin", words.decimal(row["davies_bouldin_index"]), "less is better"),
    ]


def _segment(row: Row) -> str:
    return f"{row['segment']} {row['segment_name']}"


def _sizes(marts: Marts, shown: Shown) -> Figure:
    title = "Sizes of the segments"
    rows = marts.rows("metrics", "fct_segment_sizes_daily", "segment, prediction_date", **shown.key)
    newest_day = max((row["prediction_date"] for row in rows), default=None)
    newest = [
        {**row, "name": _segment(row)} for row in rows if row["prediction_date"] == newest_day
    ]

    def draw(newest: Sequence[Row]) -> Figure:
        return Figure(
            f"The bar is a segment's share on {words.day(newest_day)}, the orange tick its share "
            "in training; where they part, the customers have changed.",
            charts.bars(
                newest,
                f"Sizes of the segments of {shown.name}",
                name="name",
                value="share",
                beside="trained_share",
                x=("share of entities", "%"),
                form=words.share,
            ),
            Table.of(
                newest,
                Column("segment", "name"),
                Column("entities", "n_predictions", words.count),
                Column("share", "share", words.share),
                Column("in training", "trained_share", words.share),
                Column("change in points", "share_drift", words.points),
            ),
        )

    return figure(
        title, newest, "Nobody is in a segment yet: `leadlight run` trains and scores.", draw
    )


def _profiles(marts: Marts, shown: Shown) -> Figure:
    title = "What the segments are like"
    rows = [
        {
            **row,
            "name": _segment(row),
            "what": row["feature"] + (f": {row['level']}" if row["level"] else ""),
        }
        for row in marts.rows(
            "models",
            "fct_segment_profiles",
            "segment, position",
            task=shown.task,
            model_version=shown.version,
        )
    ]

    def draw(rows: Sequence[Row]) -> Figure:
        cells = [
            {
                "x": row["segment"],
                "y": row["what"],
                "text": words.tenth(row["z_score"]),
                "tone": charts.ACCENT if row["z_score"] >= 0 else charts.SECOND,
                "strength": min(abs(row["z_score"]) / 2, 1),
            }
            for row in rows
            if row["z_score"] is not None
        ]
        height = 70 + 26 * len({cell["y"] for cell in cells})
        return Figure(
            "A number is how many standard deviations a segment lies above (blue) or below "
            "(orange) everybody's mean; the strong cells are what makes it.",
            charts.matrix(
                cells,
                f"Profiles of the segments of {shown.task} {shown.version}",
                x_title="segment",
                y_title="standard deviations from everybody's mean",
                height=height,
                wide=True,
            ),
            Table.of(
                rows,
                Column("segment", "name"),
                Column("feature", "what"),
                Column("mean", "segment_mean", words.fine),
                Column("of everybody", "overall_mean", words.fine),
                Column("z-score", "z_score", words.fine),
            ),
        )

    return figure(
        title, rows, "Only `leadlight train` writes profiles of segments.", draw, columns=2
    )


def _days(shown: Shown, rows: Sequence[Row]) -> Figure:
    title = "How well they are set apart"

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "At 1 every entity is far from all segments but its own, at 0 it lies between two; a "
            "fall says that the segments no longer fit.",
            charts.daily(
                rows,
                f"Silhouette of {shown.name} by day",
                day="prediction_date",
                y=("silhouette", "mean silhouette", "f"),
                domain=(-1, 1),
            ),
            Table.of(
                rows,
                Column("day", "prediction_date", words.day),
                Column("entities", "n_predictions", words.count),
                Column("segments", "n_segments", words.count),
                Column("silhouette", "silhouette", words.decimal),
                Column("of a sample of", "n_sampled", words.count),
                Column("Davies-Bouldin", "davies_bouldin_index", words.decimal),
            ),
        )

    return figure(title, rows, "Nobody is in a segment yet: `leadlight run` scores.", draw)
