"""scoring.models: which versions of a task's model there are, and which one is champion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from sklearn.base import ClassifierMixin

from python_scoring import artifacts
from python_scoring.errors import LeadlightError
from python_scoring.features import FeatureSpec
from python_scoring.fitting import FittedModel


@dataclass(frozen=True)
class ModelVersion:
    """One trained version of a task, artifact aside."""

    task: str
    model_version: str
    status: str
    algorithm: str
    features: dict[str, Any]
    trained_at: datetime
    judged_through: datetime
    metrics: dict[str, float]

    @property
    def feature_spec(self) -> FeatureSpec:
        """What the model reads of a feature relation."""
        return FeatureSpec.from_json(self.features)


def champion(connection: psycopg.Connection, task: str) -> ModelVersion | None:
    """Return the version in force, or None before the first training."""
    columns = ", ".join(ModelVersion.__dataclass_fields__)
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        return cursor.execute(
            f"select {columns} from scoring.models where task = %s and status = 'champion'",
            [task],
        ).fetchone()


def load_estimator(connection: psycopg.Connection, version: ModelVersion) -> ClassifierMixin:
    """Return the fitted model of a version.

    Raises:
        LeadlightError: the artifact does not match its digest, or holds a type that is not allowed.
    """
    artifact, digest = connection.execute(
        "select artifact, artifact_sha256 from scoring.models "
        "where task = %s and model_version = %s",
        [version.task, version.model_version],
    ).fetchone()
    try:
        return artifacts.load(artifact, digest)
    except LeadlightError as error:
        raise LeadlightError(
            f"model {version.model_version} of {version.task} is not loaded: "
            f"{error.format_message()}"
        ) from error


def next_version(connection: psycopg.Connection, task: str) -> str:
    """Return the name of the next version of a task: v1, v2, ..."""
    row = connection.execute(
        "select coalesce(max(cast(substring(model_version from '^v([0-9]+)$') as bigint)), 0) + 1 "
        "from scoring.models where task = %s",
        [task],
    ).fetchone()
    return f"v{row[0]}"


def register(
    connection: psycopg.Connection,
    task: str,
    model_version: str,
    model: FittedModel,
    spec: FeatureSpec,
    *,
    is_champion: bool,
    reason: str,
) -> None:
    """Write a trained version with its artifact and trials; a new champion retires the old one.

    The caller holds the transaction.
    """
    if is_champion:
        connection.execute(
            "update scoring.models set status = 'retired' where task = %s and status = 'champion'",
            [task],
        )
    artifact, digest = artifacts.dump(model.estimator)
    connection.execute(
        """
        insert into scoring.models (
            task, model_version, status, algorithm, parameters, features,
            trained_from, trained_through, judged_from, judged_through,
            n_training_rows, n_out_of_time_rows, metrics, reason, artifact, artifact_sha256
        )
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            task,
            model_version,
            "champion" if is_champion else "challenger",
            model.algorithm,
            Jsonb(model.parameters),
            Jsonb(spec.to_json()),
            model.trained_from,
            model.trained_through,
            model.judged_from,
            model.judged_through,
            model.n_trained,
            model.n_judged,
            Jsonb(model.metrics),
            reason,
            artifact,
            digest,
        ],
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into scoring.training_trials (task, model_version, trial, algorithm, "
            "parameters, mean_log_loss, std_log_loss, fit_seconds) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    task,
                    model_version,
                    number,
                    trial.algorithm,
                    Jsonb(trial.parameters),
                    -trial.mean_score,
                    trial.std_score,
                    trial.fit_seconds,
                )
                for number, trial in enumerate(model.trials, start=1)
            ],
        )
