"""Trains a task: reads features and mature labels, fits, judges, explains, registers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import psycopg

from python_scoring import clustering, explaining, fitting, registry
from python_scoring.errors import LeadlightError, NotEnoughData
from python_scoring.feature_rows import FeatureRelation, read_frames
from python_scoring.features import FeatureSpec
from python_scoring.fitting import FittedModel
from python_scoring.predictions import prediction_frame, write_predictions
from python_scoring.registry import ModelVersion
from python_scoring.settings import Settings
from python_scoring.tasks import Task

SEED = 20_260_101

# Below this a difference in loss says more about chance than about the models.
MIN_ROWS_TO_COMPARE = 100


@dataclass(frozen=True)
class Training:
    """What a training came to; `metrics` are those by which the model was judged."""

    task: str
    model_version: str
    is_champion: bool
    reason: str
    algorithm: str
    metrics: dict[str, float | None]
    n_trained: int
    n_trials: int


def reason_to_train(connection: psycopg.Connection, settings: Settings, task: Task) -> str | None:
    """Return why a training is due, or None while the champion does well and is young enough."""
    champion = registry.champion(connection, task.task)
    if champion is None:
        return "there is no champion"
    newest = connection.execute(
        "select max(trained_at) from scoring.models where task = %s", [task.task]
    ).fetchone()[0]
    age = datetime.now(UTC) - newest
    if age > task.retrain_after:
        return f"the last training was {age.days} days ago"
    if age < task.retrain_pause:
        return None
    return registry.warning_sign(connection, settings, champion)


def train(settings: Settings, connection: psycopg.Connection, task: Task) -> Training:
    """Train a task in one transaction: model, trials, explanations and backtest, or nothing.

    Raises:
        LeadlightError: there is nothing to learn from, or the feature table is missing.
    """
    try:
        if task.kind == "clustering":
            return _train_clusters(settings, connection, task)
        return _train_supervised(settings, connection, task)
    except LeadlightError as error:
        raise type(error)(f"{task.task}: {error.format_message()}") from error


def _train_supervised(settings: Settings, connection: psycopg.Connection, task: Task) -> Training:
    """Train a binary or regression task."""
    relation = FeatureRelation.describe(connection, task.features_relation)
    examples = _read_examples(settings, relation, task)
    spec = FeatureSpec.learn(examples[list(relation.columns)], relation.json_columns)
    matrix = spec.matrix(examples)
    labels = examples["label"].to_numpy()
    model = fitting.fit(
        task.kind,
        matrix,
        labels,
        examples["as_of_at"],
        entities=examples["entity_id"].to_numpy(),
        seed=SEED,
    )
    recent = model.out_of_time_index
    explanation = explaining.explain(
        task.kind, model.estimator, matrix.iloc[recent], labels[recent], seed=SEED
    )
    champion = registry.champion(connection, task.task)
    is_better, reason = _judge(connection, task, champion, model, examples)
    model_version = registry.next_version(connection, task.task)
    backtest = prediction_frame(task, examples.iloc[recent], model.out_of_time_predictions)
    with connection.transaction():
        registry.register(
            connection,
            task.task,
            model_version,
            model,
            spec,
            is_champion=is_better,
            reason=reason,
        )
        registry.write_explanation(connection, task.task, model_version, explanation)
        write_predictions(connection, task, model_version, "backtest", backtest)
    return _outcome(task, model_version, model, is_better, reason)


def _train_clusters(settings: Settings, connection: psycopg.Connection, task: Task) -> Training:
    """Train a clustering on the newest row of each entity; it takes the champion's place.

    There are no labels to compare two clusterings by, and segments keep their numbers, so the one
    that knows the newest rows is the one in force.
    """
    relation = FeatureRelation.describe(connection, task.features_relation)
    query = (
        f"select {relation.select_list} from {relation.newest_rows()} as features "
        "order by features.entity_id"
    )
    frames = list(read_frames(settings, query))
    if not frames:
        raise NotEnoughData("no rows to train on: the feature table is empty")
    rows = pd.concat(frames, ignore_index=True)
    spec = FeatureSpec.learn(rows[list(relation.columns)], relation.json_columns)
    champion = registry.champion(connection, task.task)
    previous = None if champion is None else registry.load_estimator(connection, champion)
    model = clustering.fit_clusters(
        spec.matrix(rows), rows["as_of_at"], seed=SEED, previous=previous
    )
    reason = "there was no champion" if champion is None else "it knows the newest rows"
    model_version = registry.next_version(connection, task.task)
    with connection.transaction():
        registry.register(
            connection, task.task, model_version, model, spec, is_champion=True, reason=reason
        )
        registry.write_segments(connection, task.task, model_version, model)
    return _outcome(task, model_version, model, True, reason)


def _outcome(
    task: Task, model_version: str, model: Any, is_champion: bool, reason: str
) -> Training:
    return Training(
        task=task.task,
        model_version=model_version,
        is_champion=is_champion,
        reason=reason,
        algorithm=model.algorithm,
        metrics=model.metrics,
        n_trained=model.n_trained,
        n_trials=len(model.trials),
    )


def _read_examples(settings: Settings, relation: FeatureRelation, task: Task) -> pd.DataFrame:
    """Return feature rows with the labels that have come of age, oldest first."""
    # The order is part of the result: folds are drawn by position.
    query = (
        f"select {relation.select_list}, labels.label from {relation.name} as features "
        f"inner join {settings.relation('intermediate', 'int_labels')} as labels "
        "on features.entity_id = labels.entity_id and features.as_of_at = labels.as_of_at "
        f"where labels.label_name = '{task.task}' and labels.label_status = 'mature' "
        "order by features.as_of_at, features.entity_id"
    )
    frames = list(read_frames(settings, query))
    if not frames:
        raise NotEnoughData(
            "no rows to train on: no feature row has a label that has come of age; load more "
            "history, or wait until the horizon of the first rows has passed"
        )
    return pd.concat(frames, ignore_index=True)


def _judge(
    connection: psycopg.Connection,
    task: Task,
    champion: ModelVersion | None,
    model: FittedModel,
    examples: pd.DataFrame,
) -> tuple[bool, str]:
    """Say whether a model takes the champion's place, and why.

    The two are compared by the loss of their kind on out-of-time rows that neither of them has
    seen: those later than the rows that the champion was trained or judged on.
    """
    if champion is None:
        return True, "there was no champion"
    recent = examples.iloc[model.out_of_time_index]
    is_unseen = (recent["as_of_at"] > champion.judged_through).to_numpy()
    labels = recent["label"].to_numpy()[is_unseen]
    if is_unseen.sum() < MIN_ROWS_TO_COMPARE or len(np.unique(labels)) < 2:
        return False, (
            f"only {is_unseen.sum()} rows are new to champion {champion.model_version}, "
            f"{MIN_ROWS_TO_COMPARE} with different labels are needed to compare"
        )
    try:
        estimator = registry.load_estimator(connection, champion)
    except LeadlightError as error:
        return True, f"the champion cannot be used: {error.format_message()}"
    known = fitting.predict(estimator, champion.feature_spec.matrix(recent[is_unseen]))
    champion_loss = fitting.loss(task.kind, labels, known)
    model_loss = fitting.loss(task.kind, labels, model.out_of_time_predictions[is_unseen])
    comparison = (
        f"{fitting.LOSS_NAMES[task.kind]} {model_loss:.4f} against {champion_loss:.4f} of "
        f"{champion.model_version} on {is_unseen.sum()} unseen rows"
    )
    return bool(model_loss < champion_loss), comparison
