"""What the sections of all tasks have in common: the version, drift, what it goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from python_scoring.report import charts, words
from python_scoring.report.figures import Column, Figure, Group, Section, Stat, Table, figure
from python_scoring.report.marts import Marts, Row

N_FEATURES = 10
N_DEPENDENCES = 5

# Of longer lists the first rows are drawn, and all stand in the numbers.
N_LINES = 6

# Fewer live predictions with a known outcome than this say little; the backtest says more.
LEAST_LIVE = 100

# The customary marks of a population stability index.
PSI_LEVELS = (
    (0.1, "below 0.1"),
    (0.2, "0.1 to 0.2"),
    (float("inf"), "above 0.2"),
)


@dataclass(frozen=True)
class Shown:
    """Which predictions a section shows: those of one version and run kind."""

    task: str
    version: str
    run_kind: str | None
    model: Row
    maturity: Sequence[Row]

    @property
    def name(self) -> str:
        """Task, version and run kind, for somebody who cannot see where it stands."""
        return f"{self.task} {self.version}, {self.run_kind or 'no'} predictions"

    @property
    def key(self) -> dict[str, str | None]:
        """The columns that find its rows in a mart."""
        return {"task": self.task, "model_version": self.version, "run_kind": self.run_kind}

    @property
    def waiting(self) -> str:
        """Why there is nothing to judge, and what to do."""
        return (
            f"No prediction of {self.version} has a known outcome yet. Outcomes are known a "
            "horizon after the prediction; `leadlight run` looks for them."
        )

    def of_kind(self, run_kind: str | None) -> Row | None:
        """Return what is known of the labels of a run kind."""
        return next((row for row in self.maturity if row["run_kind"] == run_kind), None)

    def pending_days(self, marts: Marts, run_kind: str | None = None) -> list[date]:
        """Return the days that still wait for labels, of one run kind or of both."""
        days = marts.rows(
            "metrics",
            "fct_label_maturity",
            "prediction_date",
            task=self.task,
            model_version=self.version,
            is_complete=False,
        )
        kinds = {run_kind} if run_kind else {"live", "backtest"}
        return sorted({row["prediction_date"] for row in days if row["run_kind"] in kinds})


def choose(marts: Marts, task: Row) -> Shown | None:
    """Return what to show of a task: live predictions where enough are known, else the backtest."""
    model = marts.version_to_show(task["task"])
    if model is None:
        return None
    maturity = [
        row
        for row in marts.maturity(task["task"])
        if row["model_version"] == model["model_version"]
    ]
    counted = "n_predictions" if task["kind"] == "clustering" else "n_mature"
    known = {row["run_kind"]: row[counted] for row in maturity if row[counted]}
    if known.get("live", 0) >= LEAST_LIVE or "backtest" not in known:
        run_kind = "live" if "live" in known else None
    else:
        run_kind = "backtest"
    return Shown(task["task"], model["model_version"], run_kind, model, maturity)


def about(
    marts: Marts, task: Row, shown: Shown, *, stats: Sequence[Stat], groups: Sequence[Group]
) -> Section:
    """Return the section of a task, with what all of them say."""
    model = shown.model
    facts = [
        ("kind", task["kind"]),
        ("asks about", f"one {task['entity']} at a time"),
        ("version", f"{model['model_version']}, {model['status']}"),
    ]
    if model["algorithm"]:
        facts.append(("algorithm", words.plain(model["algorithm"])))
    if model["n_training_rows"] is not None:
        facts.append(
            (
                "learned from",
                f"{words.count(model['n_training_rows'])} rows, "
                f"{words.span(model['trained_from'], model['trained_through'])}",
            )
        )
    if task["horizon_days"] is not None:
        facts.append(("outcome known after", f"{task['horizon_days']:g} days"))
    if task["default_threshold"] is not None:
        facts.append(("threshold", f"{task['default_threshold']:g}"))
    due = marts.rows("models", "fct_retraining_signals", "model_version", task=shown.task)
    reasons = [f"Due for a new training: {row['reason']}." for row in due if row["is_due"]]
    return Section(
        anchor=f"task-{task['task']}",
        title=words.title(task["task"]),
        kicker=task["task"],
        description=task["description"],
        shown=_what_is_shown(task, shown),
        facts=facts,
        reasons=reasons,
        stats=stats,
        groups=groups,
    )


def _what_is_shown(task: Row, shown: Shown) -> str:
    live, chosen = shown.of_kind("live"), shown.of_kind(shown.run_kind)
    n_pending = words.count(live["n_pending"] if live else 0)
    if chosen is None:
        return (
            f"Nothing to show yet: no prediction of {shown.version} has a known outcome "
            f"({n_pending} pending)."
        )
    when = words.span(chosen["first_date"], chosen["last_date"])
    if task["kind"] == "clustering":
        n = words.count(chosen["n_predictions"])
        return f"Shown: {n} {shown.run_kind} predictions of {shown.version}, {when}."
    n = words.count(chosen["n_mature"])
    if shown.run_kind == "live":
        return (
            f"Shown: live predictions of {shown.version}, {when}; {n} with a known outcome, "
            f"{n_pending} pending."
        )
    n_known = live["n_mature"] if live else 0
    return (
        f"Shown: the backtest of {shown.version}, {n} rows of {when} that it had not learned "
        f"from. {words.count(n_known) if n_known else 'None'} of its live predictions "
        f"{'has' if n_known == 1 else 'have' if n_known else 'has'} a known outcome yet "
        f"({n_pending} pending); from {LEAST_LIVE} on, they are shown instead."
    )


def labels_by_day(marts: Marts, shown: Shown, *, has_classes: bool) -> Figure:
    """Return how many labels are known and how many pending, by day of prediction."""
    title = "Outcomes known and pending"
    rows = marts.rows(
        "metrics",
        "fct_label_maturity",
        "prediction_date",
        task=shown.task,
        model_version=shown.version,
        run_kind="live",
    )
    parts = (
        [
            ("n_positives", "happened", charts.ACCENT),
            ("n_negatives", "did not", charts.THIRD),
            ("n_pending", "pending", charts.MUTED),
        ]
        if has_classes
        else [("n_mature", "known", charts.ACCENT), ("n_pending", "pending", charts.MUTED)]
    )

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Grey is still waiting: a day of live predictions is judged once its whole horizon has "
            "passed and its bar has no grey left.",
            charts.stacked_days(
                rows,
                f"Labels of {shown.task} {shown.version} by day",
                day="prediction_date",
                parts=parts,
                y_title="live predictions a day",
            ),
            Table.of(
                rows,
                Column("day", "prediction_date", words.day),
                *(Column(name, key, words.count) for key, name, _ in parts),
                Column("complete on", "complete_at", words.day),
            ),
        )

    return figure(
        title,
        rows,
        "There are no live predictions yet: `leadlight run` scores what is due.",
        draw,
    )


def importances(marts: Marts, shown: Shown, unit: str) -> Figure:
    """Return how much a version relies on each feature."""
    title = "What it relies on"
    rows = marts.rows(
        "models",
        "fct_feature_importances",
        "importance_rank",
        task=shown.task,
        model_version=shown.version,
    )

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "The longer the bar, the worse the answers get when the feature is shuffled; the thin "
            "line is one standard deviation of the repetitions.",
            charts.bars(
                rows[:N_LINES],
                f"Feature importances of {shown.task} {shown.version}",
                name="feature",
                value="mean_importance",
                deviation="std_importance",
                x=(f"rise of the {unit}", ",~r"),
                form=words.fine,
            ),
            Table.of(
                rows,
                Column("rank", "importance_rank", words.count),
                Column("feature", "feature"),
                Column("importance", "mean_importance", words.fine),
                Column("standard deviation", "std_importance", words.fine),
            ),
        )

    return figure(
        title,
        rows,
        "Nothing is known of what it goes by: only `leadlight train` writes that, for its own "
        "models.",
        draw,
    )


def curves_of_features(marts: Marts, shown: Shown, y_title: str, y_format: str) -> list[Figure]:
    """Return what is predicted on average along each of the features relied on most."""
    rows = marts.query(
        "select points.* "
        f"from {marts.relation('models', 'fct_partial_dependence')} as points "
        f"inner join {marts.relation('models', 'fct_feature_importances')} as importances "
        "using (task, model_version, feature) where task = %s and model_version = %s "
        "order by importances.importance_rank, points.position",
        shown.task,
        shown.version,
    )
    by_feature: dict[str, list[Row]] = {}
    for row in rows:
        by_feature.setdefault(row["feature"], []).append(row)
    return [
        _dependence(shown, feature, points, y_title, y_format)
        for feature, points in list(by_feature.items())[:N_DEPENDENCES]
    ]


def _dependence(
    shown: Shown, feature: str, points: list[Row], y_title: str, y_format: str
) -> Figure:
    form = words.share if y_format.endswith("%") else words.fine
    label = f"Partial dependence of {shown.task} {shown.version} on {feature}"
    if points[0]["number_value"] is None:
        svg = charts.bars(
            points,
            label,
            name="text_value",
            value="mean_prediction",
            x=(y_title, y_format),
            form=form,
        )
        value = Column("value", "text_value")
        reading = "The bar is the mean prediction if everybody had this value, all else as it is."
    else:
        svg = charts.curve(
            points,
            label,
            x=("number_value", feature, ",~r"),
            y=("mean_prediction", y_title, y_format),
            dots=True,
        )
        value = Column("value", "number_value", words.fine)
        reading = (
            "The line is the mean prediction if everybody had this value, all else as it is; where "
            "it is flat, the value makes no difference."
        )
    table = Table.of(points, value, Column(y_title, "mean_prediction", form))
    return Figure(reading, svg, table, title=f"Along {feature}")


def drift_of_features(marts: Marts, shown: Shown) -> Figure:
    """Return how far the features have moved from what the version learned from."""
    title = "Drift of the features"
    rows = marts.query(
        "select drift.*, importances.importance_rank "
        f"from {marts.relation('metrics', 'fct_feature_drift_daily')} as drift "
        f"left join {marts.relation('models', 'fct_feature_importances')} as importances "
        "using (task, model_version, feature) where task = %s and model_version = %s "
        "and drift.population_stability_index is not null "
        "order by importances.importance_rank nulls last, drift.feature, drift.feature_date",
        shown.task,
        shown.version,
    )
    names = list(dict.fromkeys(row["feature"] for row in rows))[:N_FEATURES]
    levels = [
        (name, colour, opacity)
        for (_, name), (colour, opacity) in zip(
            PSI_LEVELS,
            ((charts.MUTED, 0.3), (charts.SECOND, 0.75), (charts.BAD, 1.0)),
            strict=True,
        )
    ]
    rows = [
        {
            **row,
            "level": next(
                name for limit, name in PSI_LEVELS if row["population_stability_index"] <= limit
            ),
        }
        for row in rows
        if row["feature"] in names
    ]
    newest = list({row["feature"]: row for row in rows}.values())

    def draw(rows: Sequence[Row]) -> Figure:
        return Figure(
            "Each row is a feature, the most relied on at the top; where its index turns orange or "
            "red, its values no longer look like those learned from. Days with "
            "few rows do so by chance.",
            charts.drift_map(
                rows,
                f"Drift of the features of {shown.task} {shown.version} by day",
                day="feature_date",
                name="feature",
                level="level",
                levels=levels,
                y_title="population stability index (PSI)",
            ),
            Table.of(
                newest,
                Column("feature", "feature"),
                Column("newest day", "feature_date", words.day),
                Column("rows", "n_rows", words.count),
                Column("PSI", "population_stability_index", words.decimal),
                Column("mean", "mean_value", words.fine),
                Column("mean learned from", "reference_mean_value", words.fine),
                Column("missing", "missing_share", words.share),
            ),
        )

    return figure(
        title,
        rows,
        "No feature row is newer than what the version learned from; the next `leadlight run` "
        "brings some.",
        draw,
        columns=2,
    )
