"""The whole dbt project with all of its tests, as `dbt build` runs them, and its style."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import PROJECT_DIR

from python_scoring import cli
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings


@pytest.fixture(scope="module")
def built(
    make_database: Callable[[str], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A database in which the project was built with all tests, on empty landing tables."""
    settings = make_database("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(tmp_path_factory.mktemp("target")))
        n_nodes = run_dbt(settings, ["build"])
    assert n_nodes > 100
    return settings


def test_build_and_tests_pass_twice_on_data(built, tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    cli.run_simulation(
        built, n_leads=1500, n_days=45, seed=3, until=datetime(2026, 3, 1, tzinfo=UTC)
    )
    for _ in range(2):
        run_dbt(built, ["build"])
    results = json.loads((tmp_path / "run_results.json").read_text())["results"]
    statuses = {result["status"] for result in results}
    # Unknown event types are reported as a warning, and there are some; exposures do nothing.
    assert statuses == {"success", "pass", "warn", "no-op"}


def test_sqlfluff_finds_nothing(built):
    # The dbt templater compiles every model, so it needs a database with the project built.
    result = subprocess.run(
        [
            *(Path(sys.executable).with_name("sqlfluff"), "lint", "--disable-progress-bar"),
            *("models", "analyses", "tests/singular"),
        ],
        cwd=PROJECT_DIR,
        env={**os.environ, "DBT_PROFILES_DIR": str(built.profiles_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
