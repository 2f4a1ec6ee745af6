"""Scores a task: what the champion has not scored yet, and who is offered something for it."""

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
    """What a scoring came to; `model_version` is None while the task has no champion."""

    task: str
    model_version: str | None
    n_scored: int
    n_assigned: int


def score(
    settings: Settings,
    connection: psycopg.Connection,
    task: Task,
    progress: Callable[[int, int], None] | None = None,
) -> Scoring:
    """Score a task in one transaction: predictions and assignments, or nothing.

    Scored are the feature rows later than those the champion was trained and judged on, so that a
    live prediction is never one of a row that the model knows.

    Args:
        settings: The target.
        connection: The connection that holds the job's lock.
        task: The task to score.
        progress: Called after each batch with the rows done and the rows in all.

    Raises:
        LeadlightError: the feature table is missing, or the artifact is refused.
    """
    champion = registry.champion(connection, task.task)
    if champion is None:
        return Scoring(task.task, None, 0, 0)
    relation = FeatureRelation.describe(connection, task.features_relation)
    unscored = _unscored(relation, champion)
    n_rows = connection.execute(f"select count(*) {unscored}").fetchone()[0]
    if n_rows == 0:
        return Scoring(task.task, champion.model_version, 0, 0)
    estimator = registry.load_estimator(connection, champion)
    spec = champion.feature_spec
    experiments = read_experiments(connection, settings, task.task)

    n_scored = n_assigned = 0
    with connection.transaction():
        now = connection.execute("select now()").fetchone()[0]
        for rows in read_frames(settings, f"select {relation.select_list} {unscored}"):
            scores = fitting.scores(estimator, spec.matrix(rows))
            predictions = prediction_frame(task, rows, scores)
            n_scored += write_predictions(
                connection, task, champion.model_version, "live", predictions
            )
            for experiment in experiments:
                n_assigned += assign(
                    connection, experiment, task.default_threshold, predictions, now
                )
            if progress is not None:
                progress(n_scored, n_rows)
    return Scoring(task.task, champion.model_version, n_scored, n_assigned)


def _unscored(relation: FeatureRelation, champion: ModelVersion) -> str:
    """Return the from and where clauses of the feature rows that await the champion's score."""
    return (
        f"from {relation.name} as features "
        "left join scoring.predictions as predictions "
        f"on predictions.task = '{champion.task}' "
        f"and predictions.model_version = '{champion.model_version}' "
        "and predictions.run_kind = 'live' "
        "and predictions.entity_id = features.entity_id "
        "and predictions.as_of_at = features.as_of_at "
        "where predictions.prediction_id is null "
        f"and features.as_of_at > '{champion.judged_through.isoformat()}'"
    )
