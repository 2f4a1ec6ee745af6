"""Postgres, as the job sees it: connections, the lock, Arrow in, COPY out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from python_scoring.errors import LeadlightError
from python_scoring.settings import Settings

CONTRACT = Path(__file__).with_name("contract.sql")

# Any constant serves, as long as nobody else takes it: the first eight bytes of "leadlight".
LOCK_KEY = int.from_bytes(b"leadligh", "big")

BATCH_ROWS = 50_000


def connection_string(settings: Settings) -> str:
    """Return the libpq connection string of the target."""
    options = dict(settings.connection_options)
    role = options.pop("role", None)
    if role:
        options["options"] = f"-c role={role}"
    return make_conninfo(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password,
        dbname=settings.dbname,
        application_name="leadlight",
        connect_timeout=10,
        **options,
    )


def connect(settings: Settings) -> psycopg.Connection:
    """Open a connection; times come back in UTC. The caller closes it.

    It commits each statement by itself; what belongs together stands in `transaction()`.

    Raises:
        LeadlightError: the server cannot be reached or refuses.
    """
    try:
        connection = psycopg.connect(connection_string(settings), autocommit=True)
    except psycopg.OperationalError as error:
        raise unreachable(settings, error) from error
    connection.execute("set time zone 'UTC'")
    return connection


def unreachable(settings: Settings, error: Exception) -> LeadlightError:
    """Return the error of a server that is not running, refuses, or went away."""
    return LeadlightError(
        f"no connection to database {settings.dbname} at {settings.host}:{settings.port} "
        f"({error}): is the server running? `leadlight db start` starts the embedded one"
    )


def create_contract(connection: psycopg.Connection) -> None:
    """Create the contract tables and the job's own, where they are missing."""
    with connection.transaction():
        connection.execute("set local client_min_messages = warning")
        connection.execute(CONTRACT.read_text(encoding="utf-8"))


def contract_exists(connection: psycopg.Connection) -> bool:
    """Return whether this version's `leadlight init` has been run on this database."""
    # The table that came last.
    row = connection.execute("select to_regclass('scoring.experiments') is not null").fetchone()
    return bool(row[0])


@contextmanager
def exclusive(connection: psycopg.Connection) -> Iterator[bool]:
    """Hold the job's one lock; yields False at once where another run holds it.

    The lock belongs to the session, so a killed run leaves none behind.
    """
    row = connection.execute("select pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
    is_mine = bool(row[0])
    try:
        yield is_mine
    finally:
        if is_mine and not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [LOCK_KEY])


def read_batches(settings: Settings, query: str) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a query as Arrow batches, so that memory stays bounded.

    Raises:
        LeadlightError: the server cannot be reached, or refuses the query.
    """
    try:
        with (
            adbc.connect(connection_string(settings)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(8 * 1024 * 1024)}
            )
            cursor.execute("set time zone 'UTC'")
            cursor.execute(query)
            yield from cursor.fetch_record_batch()
    except adbc.OperationalError as error:
        raise unreachable(settings, error) from error
    except adbc.Error as error:
        raise LeadlightError(f"the database refused a read: {error}") from error


def copy_rows(
    connection: psycopg.Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> int:
    """Append rows to a table, `schema.name`, by COPY; return how many."""
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
    )
    n_rows = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            n_rows += 1
    return n_rows
