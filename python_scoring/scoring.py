"""Scores a task: what its models have not scored yet, and who is offered something for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from python_scoring import fitting, registry
from python_scoring.feature_rows import FeatureRelation, read_frames
from python_scoring.predictions import assign, prediction_frame, write_predictions
from python_scoring.registry import ModelVersion
from python_scoring.settings import Settings
from python_scoring.tasks import Task, read_experiments


@dataclass(frozen=True)
class Scoring:
    """What a model's scoring came to; the job assigns by the champion's scores alone."""

    task: str
    model_version: str
    is_champion: bool
    n_scored: int
    # By experiment; empty where none hangs on the scores.
    n_assigned: dict[str, int]


def score(
    settings: Settings,
    connection: psycopg.Connection,
    task: Task,
    progress: Callable[[int, int], None] | None = None,
) -> list[Scoring]:
    """Score a task in one transaction: predictions and assignments of all its models, or nothing.

    The champion scores, and challengers score in its shadow: what they say is compared later, and
    acted upon by nobody. Scored are the feature rows later than those a model was trained and
    judged on, so that a live prediction is never one of a row that the model knows; a clustering
    assigns the newest row of each entity.

    Args:
        settings: The target.
        connection: The connection that holds the job's lock.
        task: The task to score.
        progress: Called after each batch with the rows done and the rows in all.

    Returns:
        One entry per model in use, the champion first; none before the first training.

    Raises:
        LeadlightError: the feature table is missing, or an artifact is refused.
    """
    versions = registry.versions_in_use(connection, task.task)
    if not versions:
        return []
    relation = FeatureRelation.describe(connection, task.features_relation)
    with connection.transaction():
        return [
            _score_version(settings, connection, task, relation, version, progress)
            for version in versions
        ]


def _score_version(
    settings: Settings,
    connection: psycopg.Connection,
    task: Task,
    relation: FeatureRelation,
    version: ModelVersion,
    progress: Callable[[int, int], None] | None,
) -> Scoring:
    is_champion = version.status == "champion"
    unscored = _unscored(task, relation, version)
    n_rows = connection.execute(f"select count(*) {unscored}").fetchone()[0]
    n_scored = 0
    n_assigned: dict[str, int] = {}
    if n_rows > 0:
        estimator = registry.load_estimator(connection, version)
        spec = version.feature_spec
        experiments = read_experiments(connection, settings, task.task) if is_champion else []
        n_assigned = {experiment.experiment: 0 for experiment in experiments}
        now = connection.execute("select now()").fetchone()[0]
        for rows in read_frames(settings, f"select {relation.select_list} {unscored}"):
            matrix = spec.matrix(rows)
            predictions = prediction_frame(
                task,
                rows,
                fitting.predict(estimator, matrix),
                estimator.space.coordinates(matrix) if task.kind == "clustering" else None,
            )
            n_scored += write_predictions(
                connection, task, version.model_version, "live", predictions
            )
            for experiment in experiments:
                n_assigned[experiment.experiment] += assign(
                    connection, experiment, task.default_threshold, predictions, now
                )
            if progress is not None:
                progress(n_scored, n_rows)
    return Scoring(task.task, version.model_version, is_champion, n_scored, n_assigned)


def _unscored(task: Task, relation: FeatureRelation, version: ModelVersion) -> str:
    """Return the from and where clauses of the feature rows that await a model's prediction."""
    rows = relation.newest_rows() if task.kind == "clustering" else relation.name
    is_later = (
        "true"
        if version.judged_through is None
        else f"features.as_of_at > '{version.judged_through.isoformat()}'"
    )
    return (
        f"from {rows} as features "
        "left join scoring.predictions as predictions "
        f"on predictions.task = '{version.task}' "
        f"and predictions.model_version = '{version.model_version}' "
        "and predictions.run_kind = 'live' "
        "and predictions.entity_id = features.entity_id "
        "and predictions.as_of_at = features.as_of_at "
        f"where predictions.prediction_id is null and {is_later}"
    )
