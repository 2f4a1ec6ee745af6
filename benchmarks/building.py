"""One dbt run in a process of its own: prints its wall time as JSON."""

from __future__ import annotations

import json
import os
import sys

from dbt.cli.main import dbtRunner


def main(variables: str, *options: str) -> None:
    """Run models, and let the server log how long it works on each statement."""
    os.environ["PGOPTIONS"] = "-c log_min_duration_statement=0"
    outcome = dbtRunner().invoke(["--log-level", "none", "run", "--vars", variables, *options])
    if not outcome.success:
        raise SystemExit(str(outcome.exception or [r.message for r in outcome.result.results]))
    print(json.dumps({"elapsed": outcome.result.elapsed_time}))


if __name__ == "__main__":
    main(*sys.argv[1:])
