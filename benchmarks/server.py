"""A throwaway Postgres with the project's landing tables, and dbt runs on it that are measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import measuring
from python_scoring import embedded, warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings, load_settings


@dataclass(frozen=True)
class Server:
    """An embedded Postgres of its own, seeded and empty, with one idle connection to it."""

    uri: str
    pid: int
    log: Path
    settings: Settings
    connection: psycopg.Connection

    def build(self, variables: str, *options: str) -> dict[str, Any]:
        """Run dbt once, in a process of its own; return its times and the memory it took.

        `elapsed` is wall time without parsing, `models` how long the server worked on the
        statements of each model, `sql` the sum of that, all in seconds; memory is in MiB.
        """
        logged_before = self.log.stat().st_size
        times = self.measured("benchmarks.building", variables, *options)
        with self.log.open(encoding="utf-8") as lines:
            lines.seek(logged_before)
            models = _seconds_by_model(lines)
        return times | {"sql": sum(models.values()), "models": models}

    def measured(self, module: str, *arguments: str) -> dict[str, Any]:
        """Run a module that prints JSON; return that, and the memory of server and client."""
        output, peak = measuring.run_module(module, *arguments, server_pid=self.pid)
        memory = {"server_mib": peak.server, "client_mib": peak.client}
        return json.loads(output.splitlines()[-1]) | memory


DURATION = re.compile(r"\[(\d+)\] LOG:  duration: ([\d.]+) ms")
# In the comment that dbt puts before a statement.
MODEL = re.compile(r'"node_id": "model\.\w+\.(\w+)"')


def _seconds_by_model(lines: Iterable[str]) -> dict[str, float]:
    """Add up the durations that a server logged; a statement without a model (begin, commit) is of
    the model before it on its connection."""
    seconds: dict[str, float] = {}
    current: dict[str, str] = {}
    for line in lines:
        if duration := DURATION.search(line):
            process, milliseconds = duration.groups()
            if model := MODEL.search(line):
                current[process] = model[1]
            if process in current:
                name = current[process]
                seconds[name] = seconds.get(name, 0) + float(milliseconds) / 1000
    return {name: round(value, 3) for name, value in seconds.items()}


@contextmanager
def throwaway_server() -> Iterator[Server]:
    """Start a server in a temporary folder; it is gone afterwards, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="leadlight-bench-"))
    # The server runs as a user of its own where this is run by root.
    folder.chmod(0o755)
    try:
        uri = embedded.start(folder)
        os.environ["DBT_PROFILES_DIR"] = str(folder)
        os.environ["DBT_TARGET_PATH"] = str(folder / "target")
        os.environ["DBT_LOG_PATH"] = str(folder / "logs")
        settings = load_settings()
        data_dir = folder / "postgres"
        pid = int((data_dir / "postmaster.pid").read_text().splitlines()[0])
        with warehouse.connect(settings) as connection:
            warehouse.create_contract(connection)
            run_dbt(settings, ["seed"])
            yield Server(uri, pid, data_dir / "log", settings, connection)
    finally:
        embedded.stop(folder)
        shutil.rmtree(folder)
