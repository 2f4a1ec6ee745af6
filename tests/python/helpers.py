"""What several end-to-end tests need: the registry, the command, quick training, queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from psycopg.rows import dict_row

from python_scoring import fitting, warehouse
from python_scoring.cli import main
from python_scoring.settings import Settings

PROJECT_DIR = Path(__file__).resolve().parents[2]
PROJECT = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))
TASKS: dict[str, dict[str, Any]] = PROJECT["vars"]["prediction_tasks"]
EXPERIMENTS: dict[str, dict[str, Any]] = PROJECT["vars"]["experiments"]

DBT_SCHEMAS = (
    "leadlight_seeds",
    "leadlight_staging",
    "leadlight_intermediate",
    "leadlight_features",
    "leadlight_models",
    "leadlight_metrics",
    "leadlight_activation",
    "leadlight_shared",
)
MART_SCHEMAS = DBT_SCHEMAS[3:]


def leadlight(settings: Settings, *arguments: str) -> Result:
    """Run the command on a database."""
    profiles_dir = str(settings.profiles_dir)
    return CliRunner().invoke(main, arguments, env={"DBT_PROFILES_DIR": profiles_dir})


def assert_done(result: Result) -> None:
    """The command ended well."""
    assert result.exit_code == 0, result.output


def done(settings: Settings, *arguments: str) -> str:
    """Run the command, which is to end well, and return what it said."""
    result = leadlight(settings, *arguments)
    assert_done(result)
    return result.output


@contextmanager
def quick_training() -> Iterator[None]:
    """Let a training try one point of the first algorithm of each kind, the simplest one."""
    with pytest.MonkeyPatch.context() as patch:
        for kind, candidates in fitting.CANDIDATES.items():
            algorithm, candidate = next(iter(candidates.items()))
            point = {name: values[:1] for name, values in candidate.grid[0].items()}
            patch.setitem(fitting.CANDIDATES, kind, {algorithm: replace(candidate, grid=[point])})
        yield


def assert_one_line(result: Result, *parts: str, exit_code: int = 1) -> None:
    """The command ended with one line that names every part, and no traceback."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == exit_code
    *usage, last = result.stderr.splitlines()
    # Wrong use is told how the command is used, before the line.
    assert exit_code == 2 or not usage, result.stderr
    assert last.startswith("Error: ")
    assert "Traceback" not in result.output
    for part in parts:
        assert part in last, last


def fetch(settings: Settings, query: str, parameters: Sequence[Any] | None = None) -> list[tuple]:
    """Return the rows of a query."""
    with warehouse.connect(settings) as connection:
        return connection.execute(query, parameters).fetchall()


def fetch_dicts(
    settings: Settings, query: str, parameters: Sequence[Any] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a query, each by the names of its columns."""
    with warehouse.connect(settings) as connection, connection.cursor(row_factory=dict_row) as c:
        return c.execute(query, parameters).fetchall()


def execute(settings: Settings, statement: str, parameters: Sequence[Any] | None = None) -> None:
    """Run a statement."""
    with warehouse.connect(settings) as connection:
        connection.execute(statement, parameters)


def fetch_value(settings: Settings, query: str, parameters: Sequence[Any] | None = None) -> Any:
    """Return the one value of a query."""
    ((value,),) = fetch(settings, query, parameters)
    return value


def relations(settings: Settings, schemas: Sequence[str] = DBT_SCHEMAS) -> list[str]:
    """Return the tables and views of schemas, `schema.name`."""
    query = (
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema = any (%s) order by 1"
    )
    return [name for (name,) in fetch(settings, query, [list(schemas)])]


def content_hashes(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """Return a hash over all columns of all rows of each relation, in whatever order they stand."""
    with warehouse.connect(settings) as connection:
        return {
            name: connection.execute(
                "select md5(string_agg(md5(cast(r as text)), '' order by md5(cast(r as text)))) "
                f"from {name} as r"
            ).fetchone()[0]
            for name in names
        }


def compiled_macros(settings: Settings, calls: dict[str, str]) -> dict[str, str]:
    """Return the SQL that dbt makes of calls of macros, by their names."""
    from dbt.cli.main import dbtRunner

    text = "\n;\n".join(f"{{{{ {call} }}}}" for call in calls.values())
    with pytest.MonkeyPatch.context() as patch:
        # dbt stays in the folder that it went to.
        patch.chdir(PROJECT_DIR)
        outcome = dbtRunner().invoke(
            [
                *("--quiet", "compile", "--inline", text),
                *("--profiles-dir", str(settings.profiles_dir)),
            ]
        )
    assert outcome.success, outcome.exception
    (result,) = outcome.result.results
    return dict(zip(calls, result.node.compiled_code.split("\n;\n"), strict=True))


def select(settings: Settings, expressions: Sequence[str], **columns: Sequence[Any]) -> list[tuple]:
    """Return the expressions for rows of the columns, in their order; a column has one type."""
    types = {bool: "boolean", int: "bigint", float: "double precision", Decimal: "numeric"}
    arrays = ", ".join(
        f"cast(%({name})s as {types[type(values[0])]}[])" for name, values in columns.items()
    )
    query = f"select {', '.join(expressions)} from unnest({arrays}) as input ({', '.join(columns)})"
    return fetch(settings, query, columns)


# How wide the histogram's bins are, and up to which score; above a half, mirrored.
WIDTHS = ((0.002, 2e-5), (0.01, 1e-4), (0.02, 2.5e-4), (0.1, 5e-4), (0.5, 2.5e-3))


def histogram_edges() -> np.ndarray:
    """Return the lower edges of the histogram's bins, as the decimals that they are."""
    lower, start = [], 0.0
    for stop, width in WIDTHS:
        lower += [round(start + k * width, 5) for k in range(round((stop - start) / width))]
        start = stop
    return np.array([*lower, 0.5, *(round(1 - edge, 5) for edge in reversed(lower[1:]))])
