"""The whole dbt project with all of its tests, as `dbt build` runs them, and its style."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT_DIR
from psycopg.rows import dict_row

from python_scoring import cli, warehouse
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


@pytest.fixture(scope="module")
def analyses(simulated: Settings) -> dict[str, list[dict]]:
    """The rows of every analysis, on the last day of the simulated businesses."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as target:
        patch.setenv("DBT_TARGET_PATH", target)
        run_dbt(simulated, ["compile"], "{as_of: '2025-06-30 00:00:00+00'}")
        compiled = sorted(Path(target).glob("compiled/*/analyses/*.sql"))
        with (
            warehouse.connect(simulated) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            return {path.stem: cursor.execute(path.read_text()).fetchall() for path in compiled}


def test_every_analysis_answers_in_the_columns_it_describes(analyses):
    described = yaml.safe_load((PROJECT_DIR / "analyses" / "_analyses.yml").read_text())["analyses"]
    assert {analysis["name"] for analysis in described} == set(analyses)
    for analysis in described:
        rows = analyses[analysis["name"]]
        assert rows, analysis["name"]
        assert [column["name"] for column in analysis["columns"]] == list(rows[0])


def test_sent_labels_are_compared_with_what_the_events_say(analyses, simulated):
    with warehouse.connect(simulated) as connection:
        expected = connection.execute(
            """
            select cast(label as text), cast(not exists (
                select 1 from tracking.events
                where events.user_id = players.user_id
                    and event_id is not null and event_type is not null
                    and occurred_at > as_of_at and occurred_at <= as_of_at + interval '7 days'
                    and occurred_at <= loaded_at + interval '1 day'
                    and coalesce(amount, 0) >= 0
            ) as integer), count(*)
            from simulation.players
            -- One whose registration is still under way when the simulation ends is not known yet.
            where user_id in (
                select user_id from tracking.events where event_type = 'new_registration'
            )
            group by 1, 2
            """
        ).fetchall()
    found = {
        (row["sent_label"], row["label"]): row["n_players"]
        for row in analyses["how_sent_churn_labels_agree"]
    }
    assert found == {(sent, ours): n for sent, ours, n in expected}
    # The simulated operator is wrong now and then, in both directions.
    assert len(found) == 4


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
