"""The diary of the job: every run leaves a row in scoring.runs, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from python_scoring import warehouse
from python_scoring.errors import LeadlightError
from python_scoring.settings import Settings


@contextmanager
def recorded_run(settings: Settings, command: str) -> Iterator[tuple[psycopg.Connection, dict]]:
    """Run a command under the job's lock, and write down how it went.

    Yields the connection to work on, and a dict for what is worth keeping: it becomes the run's
    `details`. The work is the caller's to commit, in one transaction; the diary has its own.

    Raises:
        LeadlightError: `leadlight init` is missing, the connection was lost, or the work failed.
        AlreadyRunning: another run holds the lock.
    """
    with warehouse.connect(settings) as connection:
        if not warehouse.contract_exists(connection):
            raise LeadlightError(
                f"database {settings.dbname} lacks tables of leadlight: run `leadlight init`"
            )
        with warehouse.exclusive(connection) as is_mine:
            if not is_mine:
                raise AlreadyRunning()
            run_id = _begin(connection, command)
            details: dict[str, Any] = {}
            try:
                yield connection, details
            except BaseException as error:
                message = _in_one_line(error)
                _finish_failed(connection, run_id, details, message)
                if isinstance(error, psycopg.OperationalError):
                    raise warehouse.unreachable(settings, error) from error
                if isinstance(error, psycopg.Error):
                    raise LeadlightError(f"the database refused a write: {message}") from error
                raise
            connection.execute(
                "update scoring.runs set status = 'succeeded', finished_at = clock_timestamp(), "
                "details = %s where run_id = %s",
                [Jsonb(details), run_id],
            )


class AlreadyRunning(Exception):
    """Another run of the job holds the lock; there is nothing to do but leave."""


def _begin(connection: psycopg.Connection, command: str) -> int:
    """Open the run's row; close those of runs that were killed, since nobody else has the lock."""
    connection.execute(
        "update scoring.runs set status = 'abandoned', finished_at = clock_timestamp(), "
        "error = 'the process ended without a word' where status = 'running'"
    )
    row = connection.execute(
        "insert into scoring.runs (command) values (%s) returning run_id", [command]
    ).fetchone()
    return row[0]


def _finish_failed(
    connection: psycopg.Connection, run_id: int, details: dict[str, Any], message: str
) -> None:
    """Close the run's row as failed; a lost connection leaves that to the next run."""
    if connection.closed:
        return
    connection.execute(
        "update scoring.runs set status = 'failed', finished_at = clock_timestamp(), "
        "details = %s, error = %s where run_id = %s",
        [Jsonb(details), message, run_id],
    )


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, LeadlightError):
        return error.format_message()
    return " ".join(str(error).split()) or type(error).__name__
