"""The registry as the job sees it: tasks, experiments and their arms, in tables built by dbt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row

from python_scoring.errors import LeadlightError
from python_scoring.experiments import Arm
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
    """An experiment; the job assigns entities to it if it has a task.

    Without a task, `eligible` and `salt` may be missing too. `arms` stand as `assign_arm` takes
    them.
    """

    experiment: str
    task: str | None
    eligible: str | None
    salt: str | None
    control_arm: str
    horizon_days: float
    starts_at: datetime | None
    ends_at: datetime | None
    assign_within_hours: float
    arms: tuple[Arm, ...] = ()

    @property
    def assign_within(self) -> timedelta:
        """Age up to which a score may still trigger an offer."""
        return timedelta(hours=self.assign_within_hours)

    def is_open(self, now: datetime) -> bool:
        """Return whether entities are assigned: it has started, and not ended yet."""
        has_started = self.starts_at is None or self.starts_at <= now
        return has_started and not self.has_ended(now)

    def has_ended(self, now: datetime) -> bool:
        """Return whether no entity is assigned any more."""
        return self.ends_at is not None and self.ends_at <= now


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
    connection: psycopg.Connection, settings: Settings, task: str | None = None
) -> list[Experiment]:
    """Return all experiments, or those that a task's predictions drive."""
    columns = ", ".join(name for name in Experiment.__dataclass_fields__ if name != "arms")
    query = f"select {columns} from {settings.relation('shared', 'dim_experiments')}"
    experiments = [
        experiment
        for experiment in _read(connection, Experiment, f"{query} order by experiment")
        if task is None or experiment.task == task
    ]
    columns = ", ".join(Arm.__dataclass_fields__)
    query = f"select {columns} from {settings.relation('shared', 'dim_experiment_arms')}"
    in_order = "where experiment = %s order by share_from, share_through"
    return [
        replace(found, arms=tuple(_read(connection, Arm, f"{query} {in_order}", found.experiment)))
        for found in experiments
    ]


def _read(connection: psycopg.Connection, row_type: type, query: str, *parameters: str) -> list:
    try:
        with (
            connection.transaction(),
            connection.cursor(row_factory=class_row(row_type)) as cursor,
        ):
            return cursor.execute(query, parameters).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise LeadlightError(
            "the registry has not been built in this database: run `leadlight init`, then "
            "`leadlight run --select pre`"
        ) from error
