"""One dbt run in a process of its own: prints its times as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from dbt.cli.main import dbtRunner


def main(variables: str, *options: str) -> None:
    """Run models; `elapsed` is wall time without parsing, `sql` the sum over statements."""
    sql: dict[str, float] = {}

    def watch(event: Any) -> None:
        if event.info.name == "SQLQueryStatus":
            node = event.data.node_info.node_name
            sql[node] = sql.get(node, 0) + event.data.elapsed

    command = ["--log-level", "none", "run", "--vars", variables, *options]
    outcome = dbtRunner(callbacks=[watch]).invoke(command)
    if not outcome.success:
        raise SystemExit(str(outcome.exception or [r.message for r in outcome.result.results]))
    # Statements around the models belong to no node.
    sql.pop("", None)
    print(
        json.dumps(
            {
                "elapsed": outcome.result.elapsed_time,
                "sql": sum(sql.values()),
                "models": {name: round(seconds, 3) for name, seconds in sql.items()},
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
