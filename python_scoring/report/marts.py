"""Reads the marts: rows are chosen here, never computed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from python_scoring.settings import Settings

Row = dict[str, Any]


class Marts:
    """The relations of one dbt target."""

    def __init__(self, connection: psycopg.Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    @property
    def dbname(self) -> str:
        """Name of the database."""
        return self._settings.dbname

    def query(self, statement: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, parameters).fetchall()

    def relation(self, layer: str, name: str) -> str:
        """Return the quoted name of a mart."""
        return self._settings.relation(layer, name)

    def rows(self, layer: str, name: str, order: str, **equal_to: Any) -> list[Row]:
        """Return the rows of a mart in an order, those alone whose columns have the values."""
        where = sql.SQL(" and ").join(
            sql.SQL("{} = %s").format(sql.Identifier(column)) for column in equal_to
        )
        statement = (
            f"select * from {self.relation(layer, name)} "
            f"where {where.as_string() if equal_to else 'true'} order by {order}"
        )
        return self.query(statement, *equal_to.values())

    def tasks(self) -> list[Row]:
        """Return the registry's tasks, those of one kind together."""
        kinds = "array_position(array['binary', 'regression', 'clustering'], kind)"
        return self.rows("shared", "dim_prediction_tasks", f"{kinds}, task")

    def version_to_show(self, task: str) -> Row | None:
        """Return a task's champion; where none was trained, the version that answered last."""
        versions = self.rows(
            "shared",
            "dim_model_versions",
            "status = 'champion' desc, last_predicted_at desc nulls last, model_version",
            task=task,
        )
        return versions[0] if versions else None

    def maturity(self, task: str | None = None) -> list[Row]:
        """Return what is known of each version's labels by now, all days together."""
        return self.query(
            "select task, model_version, run_kind, "
            "cast(sum(n_predictions) as bigint) as n_predictions, "
            "cast(sum(n_mature) as bigint) as n_mature, "
            "cast(sum(n_pending) as bigint) as n_pending, "
            "min(prediction_date) as first_date, max(prediction_date) as last_date, "
            "max(complete_at) filter (where not is_complete) as complete_at "
            f"from {self.relation('metrics', 'fct_label_maturity')} "
            "where %s::text is null or task = %s "
            "group by task, model_version, run_kind "
            "order by task, max(prediction_date) desc, model_version, run_kind",
            task,
            task,
        )

    def last_runs(self) -> list[Row]:
        """Return the newest runs of the job."""
        return self.query(
            "select run_id, command, status, started_at, error "
            "from scoring.runs order by run_id desc limit 3"
        )

    def now(self) -> datetime:
        """Return the database's clock."""
        return self.query("select now() as now")[0]["now"]
