"""Reads feature relations in Arrow batches, each column in a type that a model can use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import psycopg
import pyarrow as pa

from python_scoring import warehouse
from python_scoring.errors import LeadlightError
from python_scoring.settings import Settings

# The grain of a feature relation, and what drives its increments (the owner of a session among it);
# everything else is a feature.
KEYS = ("entity_id", "as_of_at")
BOOKKEEPING = ("user_id", "change_number")

NUMERIC_OID = 1700
JSON_OIDS = (114, 3802)


@dataclass(frozen=True)
class FeatureRelation:
    """A feature relation: its name, its feature columns, and which of them hold JSON."""

    name: str
    select_list: str
    columns: tuple[str, ...]
    json_columns: tuple[str, ...]

    @classmethod
    def describe(cls, connection: psycopg.Connection, name: str) -> FeatureRelation:
        """Read the columns of a relation.

        Raises:
            LeadlightError: the relation does not exist, or has no entity_id or as_of_at.
        """
        try:
            description = connection.execute(f"select * from {name} limit 0").description
        except psycopg.errors.UndefinedTable as error:
            raise LeadlightError(
                f"feature table {name} does not exist: run `leadlight run --select pre`"
            ) from error
        types = {column.name: column.type_code for column in description}
        if missing := [key for key in KEYS if key not in types]:
            raise LeadlightError(
                f"feature table {name} has no column {' and no column '.join(missing)}: "
                "one row per entity_id and as_of_at is what a task needs"
            )
        columns = tuple(column for column in types if column not in (*KEYS, *BOOKKEEPING))
        return cls(
            name=name,
            # Arrow has no unbounded numeric, and a model computes in doubles anyway.
            select_list=", ".join(
                f'cast(features."{column}" as double precision) as "{column}"'
                if types[column] == NUMERIC_OID
                else f'features."{column}"'
                for column in (*KEYS, *columns)
            ),
            columns=columns,
            json_columns=tuple(column for column in columns if types[column] in JSON_OIDS),
        )

    def newest_rows(self) -> str:
        """Return a subquery for the newest row of each entity."""
        return (
            f"(select distinct on (entity_id) * from {self.name} order by entity_id, as_of_at desc)"
        )


def read_frames(settings: Settings, query: str) -> Iterator[pd.DataFrame]:
    """Stream the rows of a query as frames of at most `warehouse.BATCH_ROWS` rows."""
    for batch in warehouse.read_batches(settings, query):
        for start in range(0, batch.num_rows, warehouse.BATCH_ROWS):
            yield _plain(batch.slice(start, warehouse.BATCH_ROWS)).to_pandas()


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with extension types (JSON, most of all) replaced by what they are made of."""
    columns = [
        column.storage if isinstance(column, pa.ExtensionArray) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
