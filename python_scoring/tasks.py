"""The registry as the job sees it: dim_prediction_tasks and dim_experiments, built by dbt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import psycopg
from psycopg.rows import class_row

from python_scoring.errors import LeadlightError
from python_scoring.settings import Settings


@dataclass(frozen=True)
class Task:
    """A prediction task that the job trains and scores."""

    task: str
    kind: str
    features_relation: str
    slices: list[str]
    default_threshold: float | None
    retrain_after_days: float
    retrain_pause_days: float

    @property
    def retrain_after(self) -> timedelta:
        """Age at which a champion is due for a new training."""
        return timedelta(days=self.retrain_after_days)

    @property
    def retrain_pause(self) -> timedelta:
        """Age up to which a training is not followed by another, whatever the signs."""
        return timedelta(days=self.retrain_pause_days)


@dataclass(frozen=True)
class Experiment:
    """An experiment that the job assigns entities to; `offer_amount` in the events' money."""

    experiment: str
    task: str
    eligible: str
    holdout_share: float
    salt: str
    control_arm: str
    treatment_arm: str
    offer_amount: Decimal
    assign_within_hours: float

    @property
    def assign_within(self) -> timedelta:
        """Age up to which a score may still trigger an offer."""
        return timedelta(hours=self.assign_within_hours)


def read_tasks(
    connection: psycopg.Connection, settings: Settings, only: str | None = None
) -> list[Task]:
    """Return the tasks that have a features model, or the one that is named.

    Raises:
        LeadlightError: dbt has not built the registry, or it does not hold the named task.
    """
    columns = ", ".join(Task.__dataclass_fields__)
    query = f"select {columns} from {settings.relation('shared', 'dim_prediction_tasks')}"
    tasks = _read(connection, Task, f"{query} where features_relation is not null order by task")
    if only is None:
        return tasks
    for task in tasks:
        if task.task == only:
            return [task]
    known = ", ".join(task.task for task in tasks) or "none"
    raise LeadlightError(
        f"there is no task {only} with a features model in dbt_project.yml "
        f"(vars.prediction_tasks); known: {known}"
    )


def read_experiments(
    connection: psycopg.Connection, settings: Settings, task: str
) -> list[Experiment]:
    """Return the experiments that a task's predictions drive."""
    columns = ", ".join(Experiment.__dataclass_fields__)
    query = f"select {columns} from {settings.relation('shared', 'dim_experiments')}"
    return _read(connection, Experiment, f"{query} where task = %s order by experiment", task)


def _read(connection: psycopg.Connection, row_type: type, query: str, *parameters: str) -> list:
    try:
        with (
            connection.transaction(),
            connection.cursor(row_factory=class_row(row_type)) as cursor,
        ):
            return cursor.execute(query, parameters).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise LeadlightError(
            "the registry has not been built in this database: run `leadlight run --select pre`"
        ) from error
