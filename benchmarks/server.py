"""A throwaway Postgres with the project's landing tables, and dbt runs on it that are measured."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
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
    settings: Settings
    connection: psycopg.Connection

    def build(self, variables: str, *options: str) -> dict[str, Any]:
        """Run dbt once, in a process of its own; return its times and the memory it took.

        `elapsed` is wall time without parsing, `sql` the sum over statements, `models` the same of
        each model, all in seconds; memory is in MiB.
        """
        return self.measured("benchmarks.building", variables, *options)

    def measured(self, module: str, *arguments: str) -> dict[str, Any]:
        """Run a module that prints JSON; return that, and the memory of server and client."""
        output, peak = measuring.run_module(module, *arguments, server_pid=self.pid)
        memory = {"server_mib": peak.server, "client_mib": peak.client}
        return json.loads(output.splitlines()[-1]) | memory


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
        pid = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        with warehouse.connect(settings) as connection:
            warehouse.create_contract(connection)
            run_dbt(settings, ["seed"])
            yield Server(uri, pid, settings, connection)
    finally:
        embedded.stop(folder)
        shutil.rmtree(folder)
