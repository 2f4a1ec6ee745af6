"""Writes a simulation through the contract tables, and its truth beside them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from python_scoring.errors import LeadlightError
from python_scoring.simulation.businesses import Simulation
from python_scoring.warehouse import BATCH_ROWS

# What is true of each business; no model reads it. A probability is that of the outcome after it.
TRUTH_TABLES = """
create schema if not exists simulation;

-- One row per lead.
create table if not exists simulation.leads (
    user_id text primary key,
    landed_at timestamptz not null,
    as_of_at timestamptz not null,
    intent double precision not null,
    probability_without_coupon double precision not null,
    probability_with_coupon double precision not null,
    arm text,
    got_coupon boolean not null,
    did_order boolean not null
);

-- One row per visit of the shop; session_id as the events give it.
create table if not exists simulation.sessions (
    user_id text not null,
    session_id text,
    started_at timestamptz not null,
    as_of_at timestamptz not null,
    intent double precision not null,
    probability double precision not null,
    did_order boolean not null,
    revenue double precision not null,
    primary key (user_id, started_at)
);

-- One row per player; label as the registration gives it.
create table if not exists simulation.players (
    user_id text primary key,
    registered_at timestamptz not null,
    as_of_at timestamptz not null,
    socioeconomic_index double precision not null,
    probability double precision not null,
    did_churn boolean not null,
    label integer not null
);

-- One row per subscriber and Monday at which a subscription runs.
create table if not exists simulation.subscribers (
    user_id text not null,
    as_of_at timestamptz not null,
    state text not null,
    probability double precision not null,
    did_cancel boolean not null,
    primary key (user_id, as_of_at)
);

-- One row per customer and first of a month after its first order.
create table if not exists simulation.customers (
    user_id text not null,
    as_of_at timestamptz not null,
    persona text not null,
    orders_per_day double precision not null,
    chance_to_leave double precision not null,
    probability double precision not null,
    did_churn boolean not null,
    primary key (user_id, as_of_at)
);
"""


def write_simulation(
    connection: psycopg.Connection,
    simulation: Simulation,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write a simulation inside the caller's transaction and return the number of rows written.

    Deliveries are written in order of arrival; the truth goes to the schema `simulation`, whose
    tables are created where they are missing. `progress`, if given, is told the number of rows just
    written, again and again.

    Raises:
        LeadlightError: this seed was already simulated into this database.
    """
    # The ledger row comes first: its unique source makes a second writer of this seed wait here.
    claimed = connection.execute(
        "insert into tracking.loads (source, target, n_rows, n_rejected)"
        " values (%s, 'tracking.events', %s, 0) on conflict (source) do nothing returning load_id",
        (f"simulation:{seed}", len(simulation.events)),
    ).fetchone()
    if claimed is None:
        raise LeadlightError(
            f"seed {seed} was already simulated into this database: choose another seed"
        )
    connection.execute(TRUTH_TABLES)
    return sum(
        _copy(connection, sql.Identifier(*table.split(".")), frame, progress)
        for table, frame in simulation.tables().items()
    )


def _copy(
    connection: psycopg.Connection,
    table: sql.Identifier,
    frame: pd.DataFrame,
    progress: Callable[[int], None] | None,
) -> int:
    """COPY a frame into a table in the frame's order and return its number of rows."""
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    # Text is quoted and a null is not, which is how COPY tells an empty text from a null.
    without_header = csv.WriteOptions(include_header=False, quoting_style="needed")
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            text = pa.BufferOutputStream()
            csv.write_csv(batch, text, without_header)
            copy.write(text.getvalue().to_pybytes())
            if progress is not None:
                progress(batch.num_rows)
    return len(frame)
