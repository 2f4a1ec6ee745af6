"""scoring.predictions and scoring.assignments, as the job writes them."""

from __future__ import annotations

import json
import uuid
from datetime import datetime

import numpy as np
import pandas as pd
import psycopg

from python_scoring import warehouse
from python_scoring.experiments import assign_arm
from python_scoring.tasks import Experiment, Task

COLUMNS = (
    "prediction_id",
    "task",
    "model_version",
    "run_kind",
    "entity_id",
    "as_of_at",
    "score",
    "threshold",
    "attributes",
)


def prediction_frame(task: Task, rows: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame:
    """Return predictions for feature rows, with an id of their own and the task's slices.

    Args:
        task: The task that is predicted.
        rows: Feature rows: entity_id, as_of_at, and the columns that the slices are named after.
        scores: One in [0, 1] for each row.

    Returns:
        One row per feature row: prediction_id, entity_id, as_of_at, score, attributes (JSON text).
    """
    slices = [name for name in task.slices if name in rows.columns]
    attributes = rows[slices].astype(object).where(rows[slices].notna(), None)
    return pd.DataFrame(
        {
            "prediction_id": [uuid.uuid4() for _ in range(len(rows))],
            "entity_id": rows["entity_id"].to_numpy(),
            "as_of_at": rows["as_of_at"].to_numpy(),
            "score": scores,
            "attributes": [
                json.dumps(dict(zip(slices, values, strict=True)), default=str)
                for values in attributes.itertuples(index=False)
            ],
        }
    )


def write_predictions(
    connection: psycopg.Connection,
    task: Task,
    model_version: str,
    run_kind: str,
    predictions: pd.DataFrame,
) -> int:
    """Append predictions with the threshold in force; return how many."""
    rows = zip(
        predictions["prediction_id"],
        predictions["entity_id"],
        predictions["as_of_at"].dt.tz_convert("UTC").dt.to_pydatetime(),
        predictions["score"].tolist(),
        predictions["attributes"],
        strict=True,
    )
    return warehouse.copy_rows(
        connection,
        "scoring.predictions",
        COLUMNS,
        (
            (
                prediction_id,
                task.task,
                model_version,
                run_kind,
                entity_id,
                as_of_at,
                score,
                task.default_threshold,
                attributes,
            )
            for prediction_id, entity_id, as_of_at, score, attributes in rows
        ),
    )


def assign(
    connection: psycopg.Connection,
    experiment: Experiment,
    threshold: float | None,
    predictions: pd.DataFrame,
    now: datetime,
) -> int:
    """Assign the eligible among freshly predicted entities to an arm; return how many were new.

    An entity that the experiment knows keeps its arm. A score that speaks of a moment too long ago
    triggers nothing: who was scored late may have ordered since.
    """
    is_eligible = predictions["as_of_at"] >= now - experiment.assign_within
    if experiment.eligible == "score_below_threshold":
        is_eligible &= predictions["score"] < threshold
    eligible = predictions[is_eligible]
    arms = assign_arm(
        experiment.salt,
        eligible["entity_id"].tolist(),
        experiment.holdout_share,
        experiment.control_arm,
        experiment.treatment_arm,
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into scoring.assignments (experiment, entity_id, arm, offer_amount, "
            "prediction_id) values (%s, %s, %s, %s, %s) on conflict do nothing",
            [
                (
                    experiment.experiment,
                    entity_id,
                    arm,
                    0 if arm == experiment.control_arm else experiment.offer_amount,
                    prediction_id,
                )
                for entity_id, arm, prediction_id in zip(
                    eligible["entity_id"], arms, eligible["prediction_id"], strict=True
                )
            ],
        )
        return max(cursor.rowcount, 0)
