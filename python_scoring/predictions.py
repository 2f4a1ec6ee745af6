"""scoring.predictions and scoring.assignments, as the job writes them."""

from __future__ import annotations

import json
import uuid
from datetime import datetime

import numpy as np
import pandas as pd
import psycopg

from python_scoring import ledger, warehouse
from python_scoring.experiments import assign_arm
from python_scoring.tasks import Experiment, Task

# What a task of each kind is answered with, and in which column.
ANSWERS = {"binary": "score", "regression": "predicted_value", "clustering": "segment"}


def prediction_frame(
    task: Task, rows: pd.DataFrame, answers: np.ndarray, coordinates: np.ndarray | None = None
) -> pd.DataFrame:
    """Return predictions for feature rows, with an id of their own and the task's slices.

    Args:
        task: The task that is predicted.
        rows: Feature rows: entity_id, as_of_at, and the columns that the slices are named after.
        answers: One for each row: a score in [0, 1], a value, or the number of a segment.
        coordinates: Where each row stands in the space of a clustering, shape (rows, axes); SQL
            measures distances by them. None for other kinds.

    Returns:
        One row per feature row: prediction_id, entity_id, as_of_at, the answer under the name of
        its column, attributes (JSON text).
    """
    slices = [name for name in task.slices if name in rows.columns]
    attributes = rows[slices].astype(object).where(rows[slices].notna(), None)
    documents = [
        dict(zip(slices, values, strict=True)) for values in attributes.itertuples(index=False)
    ]
    if coordinates is not None:
        for document, place in zip(documents, coordinates.tolist(), strict=True):
            document["coordinates"] = place
    return pd.DataFrame(
        {
            "prediction_id": [uuid.uuid4() for _ in range(len(rows))],
            "entity_id": rows["entity_id"].to_numpy(),
            "as_of_at": rows["as_of_at"].to_numpy(),
            ANSWERS[task.kind]: answers,
            "attributes": [json.dumps(document, default=str) for document in documents],
        }
    )


def write_predictions(
    connection: psycopg.Connection,
    task: Task,
    model_version: str,
    run_kind: str,
    predictions: pd.DataFrame,
) -> int:
    """Append predictions, those of a binary task with the threshold in force; return how many."""
    answer = ANSWERS[task.kind]
    threshold = task.default_threshold if task.kind == "binary" else None
    rows = zip(
        predictions["prediction_id"],
        predictions["entity_id"],
        predictions["as_of_at"].dt.tz_convert("UTC").dt.to_pydatetime(),
        predictions[answer].tolist(),
        predictions["attributes"],
        strict=True,
    )
    return warehouse.copy_rows(
        connection,
        "scoring.predictions",
        [
            *("task", "model_version", "run_kind", "threshold"),
            *("prediction_id", "entity_id", "as_of_at", answer, "attributes"),
        ],
        ((task.task, model_version, run_kind, threshold, *row) for row in rows),
    )


def assign(
    connection: psycopg.Connection,
    experiment: Experiment,
    threshold: float | None,
    predictions: pd.DataFrame,
    now: datetime,
) -> int:
    """Assign the eligible among freshly predicted entities to an arm; return how many were new.

    Nobody is assigned before the experiment starts, nor once it has ended. An entity that the
    experiment knows keeps its arm. A score that speaks of a moment too long ago triggers nothing:
    who was scored late may have ordered since.
    """
    if not experiment.is_open(now):
        return 0
    is_eligible = predictions["as_of_at"] >= now - experiment.assign_within
    if experiment.eligible == "score_below_threshold":
        is_eligible &= predictions["score"] < threshold
    eligible = predictions[is_eligible]
    arms = assign_arm(experiment.salt, eligible["entity_id"].tolist(), experiment.arms)
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into scoring.assignments (experiment, entity_id, arm, offer_amount, "
            "prediction_id) values (%s, %s, %s, %s, %s) on conflict do nothing",
            [
                (
                    experiment.experiment,
                    entity_id,
                    experiment.arms[number].arm,
                    experiment.arms[number].offer_amount,
                    prediction_id,
                )
                for entity_id, number, prediction_id in zip(
                    eligible["entity_id"], arms, eligible["prediction_id"], strict=True
                )
            ],
        )
        n_assigned = max(cursor.rowcount, 0)
    if n_assigned > 0:
        ledger.begin(connection, experiment)
    return n_assigned
