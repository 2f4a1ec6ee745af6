"""A throwaway Postgres for the tests: the embedded one, or a server named by the PG* variables."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from helpers import PROJECT_DIR, quick_training

from python_scoring import cli, embedded, warehouse
from python_scoring.settings import Settings, load_settings

IS_SERVER_GIVEN = os.environ.get("LEADLIGHT_TEST_SERVER") == "1"
REAL_DATA = Path(os.environ.get("LEADLIGHT_REAL_DATA", PROJECT_DIR.parent / "shared" / "data"))

SIMULATED_UNTIL = datetime(2025, 6, 30, tzinfo=UTC)
ON_THE_LAST_DAY = json.dumps({"as_of": "2025-06-30 00:00:00+00"})
# Now; what is asked every Monday and every month is asked once or twice after the last event, and
# no more.
ONCE_MATURE = json.dumps({"calendar_end_date": "2025-07-15"})
# Variables that are read when a model is built, and change nothing in how the project is parsed.
MOMENTS = ("as_of", "calendar_end_date")

# Their files are begun first, so that no process is left alone with one at the end.
LONGEST = (
    "increments",
    "dbt_build",
    "loop",
    "real_data",
    "tasks",
    "cli_errors",
    "comparison_oracle",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take minutes first."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def real_data(name: str) -> Path:
    """Return a file of the real data sets; skip the test, saying so, where they are missing."""
    path = REAL_DATA / name
    if not path.is_file():
        pytest.skip(f"real data not found: {path} (set LEADLIGHT_REAL_DATA)")
    return path


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, str | int]]:
    """Where a Postgres listens: host, port, user and password.

    LEADLIGHT_TEST_SERVER=1 takes the server of PGHOST, PGPORT, PGUSER and PGPASSWORD; without it
    an embedded one is started, and removed afterwards.
    """
    if IS_SERVER_GIVEN:
        yield {
            "host": os.environ.get("PGHOST", "localhost"),
            "port": int(os.environ.get("PGPORT", "5432")),
            "user": os.environ.get("PGUSER", "postgres"),
            "password": os.environ.get("PGPASSWORD", ""),
        }
        return
    # Not below pytest's own folder: the server runs as another user when the tests run as root.
    home = Path(tempfile.mkdtemp(prefix="leadlight-test-"))
    home.chmod(0o755)
    embedded.start(home)
    profile = yaml.safe_load((home / "profiles.yml").read_text())
    output = profile["leadlight"]["outputs"]["embedded"]
    address = {name: output[name] for name in ("host", "port", "user", "password")}
    with psycopg.connect(**address, dbname="postgres", autocommit=True) as admin:
        # Nothing here outlives the machine.
        for option in ("fsync", "synchronous_commit", "full_page_writes"):
            admin.execute(f"alter system set {option} = off")
        admin.execute("select pg_reload_conf()")
    yield address
    embedded.stop(home)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def make_database(
    server: dict[str, str | int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Settings]]:
    """Return a function that makes an empty database with the contract tables, by a name."""
    made: list[str] = []
    admin = psycopg.connect(**server, dbname="postgres", autocommit=True)

    def make(name: str) -> Settings:
        dbname = f"leadlight_{name}_{uuid.uuid4().hex[:8]}"
        admin.execute(f"create database {dbname}")
        made.append(dbname)
        profiles_dir = tmp_path_factory.mktemp(name)
        output = {"type": "postgres", **server, "dbname": dbname, "schema": "leadlight"}
        profile = {"target": "test", "outputs": {"test": {**output, "threads": 2}}}
        (profiles_dir / "profiles.yml").write_text(yaml.safe_dump({"leadlight": profile}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DBT_PROFILES_DIR", str(profiles_dir))
            settings = load_settings()
        with warehouse.connect(settings) as connection:
            warehouse.create_contract(connection)
        return settings

    yield make
    # An embedded server goes as a whole.
    for dbname in made if IS_SERVER_GIVEN else ():
        admin.execute(f"drop database if exists {dbname} with (force)")
    admin.close()


@pytest.fixture(scope="session")
def database(make_database: Callable[[str], Settings]) -> Settings:
    """A database with empty contract tables, shared by the tests that clean up after themselves."""
    return make_database("shared")


@pytest.fixture
def clean_database(database: Settings) -> Settings:
    """The shared database, its contract tables emptied."""
    with warehouse.connect(database) as connection:
        connection.execute(
            "truncate tracking.events, tracking.loads, tracking.load_rejects, "
            "scoring.predictions, scoring.assignments, scoring.experiments, scoring.models, "
            "scoring.training_trials, scoring.feature_importances, "
            "scoring.partial_dependence, scoring.curves, "
            "scoring.segments, scoring.cluster_profiles, scoring.runs"
        )
    return database


@pytest.fixture(scope="session", autouse=True)
def dbt_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what dbt writes out of the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(tmp_path_factory.mktemp("target")))
        patch.setenv("DBT_LOG_PATH", str(tmp_path_factory.mktemp("logs")))
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Let dbt keep what it parsed for another database or moment: only names of relations differ.

    It would begin anew for each, and take a third of the time of all tests.
    """
    from dbt.parser.manifest import ManifestLoader

    is_partial_parsable = ManifestLoader.is_partial_parsable
    lasting_variables: dict[str, dict[str, Any]] = {}

    def is_partial_parsable_for_another(loader: Any, saved: Any) -> Any:
        project, before, now = loader.root_project, saved.state_check, loader.manifest.state_check
        variables = {name: value for name, value in project.cli_vars.items() if name not in MOMENTS}
        lasting_variables[now.vars_hash.checksum] = variables
        if lasting_variables.get(before.vars_hash.checksum) == variables:
            before.vars_hash = now.vars_hash
        before.profile_hash = now.profile_hash
        models = [model.node_relation for model in saved.semantic_models.values()]
        for node in (*saved.nodes.values(), *saved.sources.values(), *models):
            if node.relation_name:
                node.relation_name = node.relation_name.replace(
                    f'"{node.database}"', f'"{project.credentials.database}"'
                )
            node.database = project.credentials.database
        return is_partial_parsable(loader, saved)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ManifestLoader, "is_partial_parsable", is_partial_parsable_for_another)
        yield


@pytest.fixture(scope="session", autouse=True)
def flags_without_source() -> Iterator[None]:
    """Keep dbt from walking the stack for each of its behaviour flags.

    An adapter adds its flags to a list of the module, so that each run of dbt in one process has
    more of them than the run before, and asks for each where it was defined.
    """
    from dbt_common.behavior_flags import BehaviorFlagRendered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        yield


@pytest.fixture(scope="session")
def copy_database(
    server: dict[str, str | int], make_database: Callable[[str], Settings]
) -> Callable[[Settings, str], Settings]:
    """Return a function that copies a database, for a test that changes what others read."""

    def copy(original: Settings, name: str) -> Settings:
        settings = make_database(name)
        with psycopg.connect(**server, dbname="postgres", autocommit=True) as admin:
            admin.execute(f"drop database {settings.dbname}")
            admin.execute(f"create database {settings.dbname} template {original.dbname}")
        return settings

    return copy


@pytest.fixture(scope="session")
def simulated(make_database: Callable[[str], Settings], dbt_folders: None) -> Settings:
    """Simulated businesses, once round the loop on their last day and once when all had matured.

    Read-only for the tests: what is to be changed is copied first.
    """
    settings = make_database("simulated")
    cli.run_simulation(settings, n_leads=4000, n_days=60, seed=11, until=SIMULATED_UNTIL)
    with quick_training():
        for variables in (ON_THE_LAST_DAY, ONCE_MATURE):
            cli.run_loop(settings, cli.PHASES, variables, full_refresh=False)
    return settings


@pytest.fixture
def train_quickly() -> Iterator[None]:
    """Let the trainings of a test be quick."""
    with quick_training():
        yield
