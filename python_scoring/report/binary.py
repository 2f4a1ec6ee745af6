"""The section of a task that answers yes or no."""

from __future__ import annotations

from collections.abc import Sequence

from python_scoring.report import charts, words
from python_scoring.report.figures import Column, Figure, Group, Section, Stat, Table, figure
from python_scoring.report.marts import Marts, Row
from python_scoring.report.models import (
    N_LINES,
    Shown,
    about,
    curves_of_features,
    drift_of_features,
    importances,
    labels_by_day,
)

THRESHOLD = Column("threshold", "threshold", words.decimal)


def section(marts: Marts, task: Row, shown: Shown) -> Section:
    """Return the section of a binary task."""
    metrics = marts.rows(
        "metrics",
        "fct_classifier_metrics",
        "slice_name",
        **shown.key,
        slice_name="all",
        window_name="all_time",
    )
    return about(
        marts,
        task,
        shown,
        stats=_stats(metrics[0]) if metrics else (),
        groups=(
            Group(
                "How well it tells them apart",
                [*_curves(marts, shown), _confusion(shown, metrics)],
            ),
            Group(
                "Whether its scores can be believed",
                [
                    _calibration(marts, shown),
                    _promises(marts, shown),
                    _slices(marts, task, shown),
                ],
            ),
            Group(
                "Day by day", [_days(marts, shown), labels_by_day(marts, shown, has_classes=True)]
            ),
            Group("What a threshold brings", [_money(marts, shown), _thresholds(marts, shown)]),
            Group("What has moved", [drift_of_features(marts, shown), _score_drift(marts, shown)]),
            Group(
                "What it goes by",
                [
                    importances(marts, shown, "log loss, in nats"),
                    *curves_of_features(marts, shown, "mean score", "%"),
                ],
            ),
        ),
    )


def _stats(row: Row) -> list[Stat]:
    return [
        Stat(
            "ROC AUC",
            words.decimal(row["roc_auc"]),
            words.interval(row["roc_auc_lower"], row["roc_auc_upper"], words.decimal),
        ),
        Stat("Average precision", words.decimal(row["average_precision"]), "chance: the base rate"),
        Stat(
            "Base rate",
            words.share(row["base_rate"]),
            f"mean score {words.share(row['mean_score'])}",
        ),
        Stat(
            "Precision",
            words.share(row["precision"]),
            words.interval(row["precision_lower"], row["precision_upper"], words.share),
        ),
        Stat(
            "Recall",
            words.share(row["recall"]),
            words.interval(row["recall_lower"], row["recall_upper"], words.share),
        ),
        Stat("Log loss", words.decimal(row["log_loss"]), "nats, less is better"),
        Stat("Brier score", words.decimal(row["brier_score"]), "less is better"),
        Stat(
            "Calibration error", words.decimal(row["expected_calibration_error"]), "ECE, ten bins"
        ),
    ]


def _curves(marts: Marts, shown: Shown) -> list[Figure]:
    rows = marts.rows(
        "metrics",
        "fct_threshold_curve",
        "threshold desc nulls first",
        **shown.key,
        window_name="all_time",
    )
    marked = [("in force", row) for row in rows if row["is_in_force"]][:1]
    marked += [("best F1", row) for row in rows if row["is_best_by_f1"]][:1]
    counted = [row for row in rows if row["is_in_force"] or row["is_best_by_f1"]]
    for row in rows:
        row["is_marked"] = row in counted
    waiting = shown.waiting

    def roc(rows: Sequence[Row]) -> Figure:
        return Figure(
            "The further the line bends to the top left, the better the scores tell apart; on the "
            "dashed diagonal they tell nothing.",
            charts.curve(
                rows,
                f"ROC curve of {shown.name}",
                x=("false_positive_rate", "false positive rate (share of negatives)", "%"),
                y=("true_positive_rate", "true positive rate (share of positives)", "%"),
                marks=marked,
                reference=[
                    {"false_positive_rate": 0, "true_positive_rate": 0},
                    {"false_positive_rate": 1, "true_positive_rate": 1},
                ],
                square=True,
            ),
            Table.of(
                rows,
                THRESHOLD,
                Column("true positive rate", "true_positive_rate", words.share),
                Column("false positive rate", "false_positive_rate", words.share),
                Column("in force", "is_in_force", words.yes_no),
                keep="is_marked",
            ),
        )

    def precision_recall(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Going right, more of the positives are found; how far the line falls is what that "
            "costs in false alarms.",
            charts.curve(
                rows,
                f"Precision-recall curve of {shown.name}",
                x=("true_positive_rate", "recall (share of positives found)", "%"),
                y=("precision", "precision (share of predicted positives that are)", "%"),
                marks=marked,
                square=True,
            ),
            Table.of(
                rows,
                THRESHOLD,
                Column("recall", "true_positive_rate", words.share),
                Column("precision", "precision", words.share),
                Column("F1", "f1_score", words.decimal),
                Column("in force", "is_in_force", words.yes_no),
                keep="is_marked",
            ),
        )

    return [
        figure("ROC curve", rows, waiting, roc),
        figure("Precision and recall", rows, waiting, precision_recall),
    ]


def _confusion(shown: Shown, metrics: list[Row]) -> Figure:
    def draw(rows: Sequence[Row]) -> Figure:
        (row,) = rows
        cells = [
            (said, happened, row[key], is_right)
            for said, happened, key, is_right in (
                ("predicted yes", "it happened", "n_true_positives", True),
                ("predicted yes", "it did not", "n_false_positives", False),
                ("predicted no", "it happened", "n_false_negatives", False),
                ("predicted no", "it did not", "n_true_negatives", True),
            )
        ]
        largest = max(n for _, _, n, _ in cells) or 1
        return Figure(
            "Blue cells were right, orange ones wrong, at the threshold in force; the stronger the "
            "colour, the more predictions.",
            charts.matrix(
                [
                    {
                        "x": happened,
                        "y": said,
                        "text": words.count(n),
                        "tone": charts.ACCENT if is_right else charts.SECOND,
                        "strength": n / largest,
                    }
                    for said, happened, n, is_right in cells
                ],
                f"Confusion matrix of {shown.name}",
                x_title="",
                y_title="predictions with a known outcome",
            ),
            Table.of(
                [{"said": said, "happened": happened, "n": n} for said, happened, n, _ in cells],
                Column("prediction", "said"),
                Column("outcome", "happened"),
                Column("predictions", "n", words.count),
            ),
        )

    return figure("Confusion matrix", metrics, shown.waiting, draw)


def _slices(marts: Marts, task: Row, shown: Shown) -> Figure:
    rows = [
        {**row, "name": f"{row['slice_name']}: {row['slice_value']}"}
        for row in marts.rows(
            "metrics",
            "fct_classifier_metrics",
            "n_mature desc, slice_name, slice_value",
            **shown.key,
            window_name="all_time",
        )
        if row["slice_name"] != "all"
    ]
    known = [row for row in rows if row["roc_auc"] is not None]

    def draw(known: Sequence[Row]) -> Figure:
        return Figure(
            "A slice whose line lies left of the others is served worse, and 0.5 is chance; more "
            "slices stand in the numbers.",
            charts.intervals(
                known[:N_LINES],
                f"ROC AUC of {shown.name} by slice",
                name="name",
                keys=("roc_auc", "roc_auc_lower", "roc_auc_upper"),
                x=("ROC AUC, 95 % interval", "f"),
                form=words.decimal,
                zero_line=False,
            ),
            Table.of(
                rows,
                Column("slice", "name"),
                Column("predictions", "n_mature", words.count),
                Column("base rate", "base_rate", words.share),
                Column("ROC AUC", "roc_auc", words.decimal),
                Column("from", "roc_auc_lower", words.decimal),
                Column("to", "roc_auc_upper", words.decimal),
                Column("log loss", "log_loss", words.decimal),
            ),
        )

    return figure(
        "ROC AUC by slice",
        known,
        "No slice has both positives and negatives yet."
        if task["slices"]
        else "The task has no slices; feature columns named under slices in dbt_project.yml are.",
        draw,
    )


def _calibration(marts: Marts, shown: Shown) -> Figure:
    rows = marts.rows(
        "metrics",
        "fct_calibration",
        "calibration_bin",
        **shown.key,
        slice_name="all",
        window_name="all_time",
        binning="equal_mass",
    )
    rows = [row for row in rows if row["observed_rate"] is not None]

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Each dot is a tenth of the predictions; where its interval misses the dashed "
            "diagonal, scores promise too much (below) or too little (above).",
            charts.reliability(
                rows,
                f"Calibration of {shown.name}",
                x=("mean_score", "mean score of the bin"),
                keys=("observed_rate", "observed_rate_lower", "observed_rate_upper"),
                y_title="share that came true, 95 % Wilson interval",
            ),
            Table.of(
                rows,
                Column("scores from", "score_from", words.decimal),
                Column("to", "score_to", words.decimal),
                Column("predictions", "n_mature", words.count),
                Column("mean score", "mean_score", words.share),
                Column("came true", "observed_rate", words.share),
                Column("from", "observed_rate_lower", words.share),
                Column("to", "observed_rate_upper", words.share),
            ),
        )

    return figure("Calibration", rows, shown.waiting, draw)


def _daily(marts: Marts, shown: Shown) -> list[Row]:
    return [
        row
        for row in marts.rows(
            "metrics",
            "fct_classifier_metrics_daily",
            "run_kind, prediction_date",
            task=shown.task,
            model_version=shown.version,
            slice_name="all",
        )
        if row["n_mature"]
    ]


def _days(marts: Marts, shown: Shown) -> Figure:
    title = "ROC AUC by day of prediction"

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "A line that sinks below its earlier interval is a model that gets worse; days with "
            "few predictions swing widely, and shaded days still wait for outcomes.",
            charts.daily(
                rows,
                f"ROC AUC of {shown.task} {shown.version} by day",
                day="prediction_date",
                y=("roc_auc", "ROC AUC, 95 % interval", "f"),
                series="run_kind",
                bands=[("roc_auc_lower", "roc_auc_upper", 0.16)],
                pending=shown.pending_days(marts),
                wide=True,
            ),
            Table.of(
                rows,
                Column("day", "prediction_date", words.day),
                Column("run kind", "run_kind"),
                Column("known", "n_mature", words.count),
                Column("pending", "n_pending", words.count),
                Column("ROC AUC", "roc_auc", words.decimal),
                Column("from", "roc_auc_lower", words.decimal),
                Column("to", "roc_auc_upper", words.decimal),
                Column("log loss", "log_loss", words.decimal),
                Column("precision", "precision", words.share),
                Column("recall", "recall", words.share),
            ),
        )

    return figure(title, _daily(marts, shown), shown.waiting, draw, columns=2)


def _promises(marts: Marts, shown: Shown) -> Figure:
    rows = [row for row in _daily(marts, shown) if row["run_kind"] == shown.run_kind]

    def draw(rows: Sequence[Row]) -> Figure:
        lines = [
            {"day": row["prediction_date"], "value": row[key], "what": what}
            for key, what in (("base_rate", "came true"), ("mean_score", "mean score"))
            for row in rows
        ]
        return Figure(
            "The two lines should lie on each other; where they part, the scores are no longer "
            "probabilities. Shaded days still wait for outcomes.",
            charts.daily(
                lines,
                f"Mean score and share that came true of {shown.name} by day",
                day="day",
                y=("value", "share of predictions", "%"),
                series="what",
                pending=shown.pending_days(marts, shown.run_kind),
            ),
            Table.of(
                rows,
                Column("day", "prediction_date", words.day),
                Column("predictions", "n_mature", words.count),
                Column("mean score", "mean_score", words.share),
                Column("came true", "base_rate", words.share),
                Column("Brier score", "brier_score", words.decimal),
            ),
        )

    return figure("Promised and come true, by day", rows, shown.waiting, draw)


def _money(marts: Marts, shown: Shown) -> Figure:
    # Money is known where somebody was randomised: if not by the version shown, then by another.
    curves = marts.query(
        "select *, is_in_force or is_best_by_net is true as is_marked "
        f"from {marts.relation('metrics', 'fct_threshold_curve')} where task = %s "
        "and window_name = 'all_time' and (model_version, run_kind) = (select model_version, "
        f"run_kind from {marts.relation('metrics', 'fct_threshold_curve')} where task = %s and "
        "window_name = 'all_time' and net_per_lead is not null order by "
        "(model_version, run_kind) = (%s, %s) desc, window_end_date desc, model_version limit 1) "
        "and net_per_lead is not null order by threshold",
        shown.task,
        shown.task,
        shown.version,
        shown.run_kind or "",
    )
    points = marts.rows(
        "metrics", "fct_operating_point", "run_kind", **shown.key, window_name="all_time"
    )
    reason = next((p["net_unknown_because"] for p in points if p["net_unknown_because"]), None)

    def draw(curves: Sequence[Row]) -> Figure:
        version = curves[0]["model_version"]
        whose = "" if version == shown.version else f" Shown for {version}, whose scores drew arms."
        return Figure(
            "Above zero, offers to everybody below the threshold earn more than offers to nobody; "
            f"the band is what chance leaves open.{whose}",
            charts.curve(
                curves,
                f"Net money per lead by threshold of {shown.task} {version}",
                x=("threshold", "threshold: offers to scores below it", "f"),
                y=("net_per_lead", "net money per lead, in money, 95 % interval", ",~r"),
                band=("net_per_lead_lower", "net_per_lead_upper"),
                marks=[("in force", row) for row in curves if row["is_in_force"]][:1]
                + [("most money", row) for row in curves if row["is_best_by_net"]][:1],
                zero_line=True,
                wide=True,
            ),
            Table.of(
                curves,
                THRESHOLD,
                Column("share below", "share_below", words.share),
                Column("net per lead", "net_per_lead", words.gain),
                Column("from", "net_per_lead_lower", words.gain),
                Column("to", "net_per_lead_upper", words.gain),
                Column("in force", "is_in_force", words.yes_no),
                keep="is_marked",
            ),
        )

    return figure(
        "Threshold against money",
        curves,
        f"The money of a threshold is unknown: {reason or 'no prediction has a known outcome'}. An "
        "entry under vars.experiments with a control arm, for this task, makes it known.",
        draw,
        columns=2,
    )


def _thresholds(marts: Marts, shown: Shown) -> Figure:
    points = marts.rows(
        "metrics", "fct_operating_point", "run_kind", **shown.key, window_name="all_time"
    )

    def draw(points: Sequence[Row]) -> Figure:
        (point,) = points
        rows = [
            {
                "what": what,
                "threshold": point[threshold],
                "f1": point.get(f1),
                "net": point.get(net),
            }
            for what, threshold, f1, net in (
                ("in force", "threshold", "f1_score", "net_per_lead"),
                ("best by F1", "best_threshold_by_f1", "best_f1_score", ""),
                ("best by money", "best_threshold_by_net", "", "best_net_per_lead"),
            )
            if point[threshold] is not None
        ]
        columns = [
            Column("threshold", "what"),
            Column("score", "threshold", words.decimal),
            Column("F1", "f1", words.decimal_or_blank),
        ]
        if point["net_per_lead"] is not None:
            columns.append(Column("net per lead", "net", words.gain))
        return Figure(
            "If the best threshold is far from the one in force, and much better, change "
            "`default_threshold` of the task in dbt_project.yml.",
            table=Table.of(rows, *columns),
        )

    return figure("The threshold in force", points, shown.waiting, draw)


def _score_drift(marts: Marts, shown: Shown) -> Figure:
    rows = marts.rows(
        "metrics",
        "fct_score_drift_daily",
        "prediction_date",
        task=shown.task,
        model_version=shown.version,
    )

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Dots above the dashed lines at 0.1 and 0.2 are days whose scores have moved, or moved "
            "far, from the backtest's; days with few predictions do so by chance.",
            charts.daily(
                rows,
                f"Population stability index of the scores of {shown.name} by day",
                day="prediction_date",
                y=("population_stability_index", "population stability index (PSI)", "f"),
                lines=(0.1, 0.2),
            ),
            Table.of(
                rows,
                Column("day", "prediction_date", words.day),
                Column("predictions", "n_predictions", words.count),
                Column("PSI", "population_stability_index", words.decimal),
                Column("KS", "kolmogorov_smirnov_statistic", words.decimal),
                Column("mean score", "mean_score", words.share),
                Column("in the backtest", "reference_mean_score", words.share),
            ),
        )

    return figure(
        "Drift of the scores",
        rows,
        "There is nothing to compare yet: it takes live predictions of a version that has a "
        "backtest. `leadlight run` makes them.",
        draw,
    )
