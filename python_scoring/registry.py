"""scoring.models: which versions of a task's model there are, and which one is champion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from python_scoring import artifacts, warehouse
from python_scoring.clustering import ClusterTrial, FittedClusters
from python_scoring.errors import LeadlightError
from python_scoring.explaining import Explanation
from python_scoring.features import FeatureSpec
from python_scoring.fitting import Estimator, FittedModel, Trial
from python_scoring.settings import Settings


@dataclass(frozen=True)
class ModelVersion:
    """One trained version of a task, artifact aside."""

    task: str
    model_version: str
    status: str
    algorithm: str
    features: dict[str, Any]
    trained_at: datetime
    trained_through: datetime
    judged_through: datetime | None
    metrics: dict[str, float]

    @property
    def feature_spec(self) -> FeatureSpec:
        """What the model reads of a feature relation."""
        return FeatureSpec.from_json(self.features)


def versions_in_use(connection: psycopg.Connection, task: str) -> list[ModelVersion]:
    """Return the champion of a task, and the challengers that are scored in its shadow."""
    columns = ", ".join(ModelVersion.__dataclass_fields__)
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        return cursor.execute(
            f"select {columns} from scoring.models where task = %s and status != 'retired' "
            "order by status, trained_at",
            [task],
        ).fetchall()


def champion(connection: psycopg.Connection, task: str) -> ModelVersion | None:
    """Return the version in force, or None before the first training."""
    columns = ", ".join(ModelVersion.__dataclass_fields__)
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        return cursor.execute(
            f"select {columns} from scoring.models where task = %s and status = 'champion'",
            [task],
        ).fetchone()


def load_estimator(connection: psycopg.Connection, version: ModelVersion) -> Estimator:
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
    model: FittedModel | FittedClusters,
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
            getattr(model, "judged_from", None),
            getattr(model, "judged_through", None),
            model.n_trained,
            getattr(model, "n_judged", 0),
            Jsonb(model.metrics),
            reason,
            artifact,
            digest,
        ],
    )
    warehouse.copy_rows(
        connection,
        "scoring.training_trials",
        [
            *("task", "model_version", "trial", "algorithm", "parameters"),
            *("mean_score", "std_score", "fit_seconds"),
        ],
        (
            (task, model_version, number, *_trial_cells(model, trial))
            for number, trial in enumerate(model.trials, start=1)
        ),
    )


def _trial_cells(
    model: FittedModel | FittedClusters, trial: Trial | ClusterTrial
) -> tuple[str, Jsonb, float, float | None, float]:
    """Return algorithm, parameters, mean and deviation of the score, and seconds of a trial."""
    if isinstance(trial, ClusterTrial):
        parameters = {
            "n_segments": trial.n_segments,
            "davies_bouldin": trial.davies_bouldin,
            "inertia": trial.inertia,
        }
        return model.algorithm, Jsonb(parameters), trial.silhouette, None, trial.fit_seconds
    cells = (trial.algorithm, Jsonb(trial.parameters), trial.mean_score, trial.std_score)
    return (*cells, trial.fit_seconds)


def write_explanation(
    connection: psycopg.Connection, task: str, model_version: str, explanation: Explanation
) -> None:
    """Write importances, partial dependence and curves of a version."""
    key = (task, model_version)
    warehouse.copy_rows(
        connection,
        "scoring.feature_importances",
        [
            *("task", "model_version", "feature"),
            *("mean_importance", "std_importance", "n_sampled"),
        ],
        (
            (*key, row.feature, row.mean, row.std, explanation.n_importance_rows)
            for row in explanation.importances
        ),
    )
    warehouse.copy_rows(
        connection,
        "scoring.partial_dependence",
        [
            *("task", "model_version", "feature", "position", "number_value", "text_value"),
            *("mean_prediction", "n_sampled"),
        ],
        (
            (
                *(*key, row.feature, row.position, row.number, row.text),
                *(row.mean_prediction, explanation.n_dependence_rows),
            )
            for row in explanation.dependence
        ),
    )
    warehouse.copy_rows(
        connection,
        "scoring.curves",
        [
            *("task", "model_version", "position", "threshold"),
            *("true_positive_rate", "false_positive_rate", "precision_rate"),
        ],
        (
            (
                *(*key, position, point.threshold, point.true_positive_rate),
                *(point.false_positive_rate, point.precision),
            )
            for position, point in enumerate(explanation.curve, start=1)
        ),
    )


def write_segments(
    connection: psycopg.Connection, task: str, model_version: str, model: FittedClusters
) -> None:
    """Write the segments of a clustering and what each feature is like in them."""
    warehouse.copy_rows(
        connection,
        "scoring.segments",
        ["task", "model_version", "segment", "segment_name", "n_entities"],
        ((task, model_version, row.segment, row.name, row.size) for row in model.segments),
    )
    warehouse.copy_rows(
        connection,
        "scoring.cluster_profiles",
        [
            *("task", "model_version", "segment", "position", "feature", "level"),
            *("segment_mean", "overall_mean", "z_score"),
        ],
        (
            (
                *(task, model_version, row.segment, position, row.feature, row.level),
                *(row.mean, row.overall_mean, row.z_score),
            )
            for position, row in enumerate(model.features, start=1)
        ),
    )


def promote(connection: psycopg.Connection, task: str, model_version: str) -> str | None:
    """Make a version champion in one transaction; return the version that made way, if any.

    Raises:
        LeadlightError: there is no such version, or it is champion already.
    """
    with connection.transaction():
        status = _status(connection, task, model_version)
        if status == "champion":
            raise LeadlightError(f"{model_version} is champion of {task} already")
        former = champion(connection, task)
        connection.execute(
            "update scoring.models set status = 'retired' where task = %s and status = 'champion'",
            [task],
        )
        _set_status(connection, task, model_version, "champion")
    return None if former is None else former.model_version


def retire(connection: psycopg.Connection, task: str, model_version: str) -> None:
    """Retire a challenger; a champion only makes way for another.

    Raises:
        LeadlightError: there is no such version, or it is champion.
    """
    with connection.transaction():
        if _status(connection, task, model_version) == "champion":
            raise LeadlightError(
                f"{model_version} is champion of {task}: promote another version instead"
            )
        _set_status(connection, task, model_version, "retired")


def _status(connection: psycopg.Connection, task: str, model_version: str) -> str:
    row = connection.execute(
        "select status from scoring.models where task = %s and model_version = %s for update",
        [task, model_version],
    ).fetchone()
    if row is None:
        raise LeadlightError(
            f"there is no version {model_version} of a task {task}: `leadlight models list` shows "
            "those there are"
        )
    return row[0]


def _set_status(connection: psycopg.Connection, task: str, model_version: str, status: str) -> None:
    connection.execute(
        "update scoring.models set status = %s where task = %s and model_version = %s",
        [status, task, model_version],
    )


def warning_sign(
    connection: psycopg.Connection, settings: Settings, champion: ModelVersion
) -> str | None:
    """Return why a champion should be trained anew by what SQL says of it, or None.

    The signs are those of fct_retraining_signals, as the last run of the loop built it.
    """
    relation = settings.relation("models", "fct_retraining_signals")
    if connection.execute("select to_regclass(%s)", [relation]).fetchone()[0] is None:
        return None
    row = connection.execute(
        f"select reason from {relation} where task = %s and model_version = %s and is_due",
        [champion.task, champion.model_version],
    ).fetchone()
    return None if row is None else row[0]
