"""Mistakes that people make: each is told in one line, never by a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from helpers import (
    PROJECT_DIR,
    TASKS,
    assert_done,
    assert_one_line,
    execute,
    fetch,
    leadlight,
)

from python_scoring.cli import main
from python_scoring.settings import Settings

TASK = "lead_conversion"
COMMANDS = {
    (): "Watch conversion models",
    ("init",): "Create the tables",
    ("db",): "embedded Postgres",
    ("db", "start"): "Start the embedded Postgres",
    ("db", "stop"): "its data stays",
    ("db", "url"): "Print the URL",
    ("db", "psql"): "Open psql",
    ("docs",): "docs site as one page",
    ("reader",): "Let a role read the marts",
    ("metabase",): "Make or update the dashboards",
    ("report",): "marts as one page",
    ("simulate",): "made-up business",
    ("load",): "Load files",
    ("run",): "once round the loop",
    ("train",): "promote what beats the champion",
    ("score",): "has not scored yet",
    ("models",): "say which one is champion",
    ("models", "list"): "every version that was trained",
    ("models", "promote"): "Make a version champion",
    ("models", "retire"): "it is scored no more",
    ("experiment",): "how experiments stand",
    ("experiment", "list"): "how many were assigned",
    ("experiment", "plan"): "how many entities and days",
    ("status",): "the last runs",
    ("demo",): "Safe to repeat",
}


@pytest.fixture(scope="module")
def empty(make_database: Callable[[str], Settings]) -> Settings:
    """A database with empty contract tables in which nothing was built."""
    return make_database("empty")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, for mistakes in its registry."""
    folder = tmp_path_factory.mktemp("copy") / "project"
    left_out = (".git", ".venv", "target", "logs", "profiles.yml", "tests", ".*_cache")
    shutil.copytree(PROJECT_DIR, folder, ignore=shutil.ignore_patterns(*left_out))
    return folder


@pytest.fixture
def in_project(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The copied project as the working folder; its registry is restored afterwards."""
    monkeypatch.chdir(project)
    # What is parsed here is not to be mixed up with what was parsed of the checkout.
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    shutil.copy(PROJECT_DIR / "dbt_project.yml", project)
    return project


def invoke(*arguments: str, **env: str | None) -> Result:
    return CliRunner().invoke(main, arguments, env=env)


# Help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does(command: tuple[str, ...]) -> None:
    result = invoke(*command, "--help")
    assert_done(result)
    assert COMMANDS[command] in " ".join(result.stdout.split())
    assert result.stderr == ""


def test_every_command_is_known_here() -> None:
    found = {()}
    for name, command in main.commands.items():
        found |= {(name,), *((name, below) for below in getattr(command, "commands", ()))}
    assert found == set(COMMANDS)


# Wrong use -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("fly",), "No such command 'fly'"),
        (("--log-format", "xml", "run"), "'xml' is not one of"),
        (("run", "--fast"), "No such option"),
        (("run", "--select", "sideways"), "'sideways' is not one of"),
        (("run", "--vars", "{as_of: [2026"), "not YAML"),
        (("run", "--vars", "just text"), "not a map"),
        (("run", "--vars", ""), "not a map"),
        (("load", "events"), "Missing argument"),
        (("load", "sandwiches", "file.csv"), "'sandwiches' is not one of"),
        (("simulate", "--leads", "0"), "--leads"),
        (("simulate", "--until", "tomorrow"), "--until"),
        (("train", "--task"), "requires an argument"),
        (("train", "--if-due", "yes"), "unexpected extra argument"),
        (("models", "burn"), "No such command 'burn'"),
        (("models", "list", "lead_conversion"), "unexpected extra argument"),
        (("models", "promote"), "Missing argument 'TASK'"),
        (("models", "promote", "lead_conversion"), "Missing argument 'MODEL_VERSION'"),
        (("models", "retire", "lead_conversion"), "Missing argument 'MODEL_VERSION'"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(
    empty: Settings, arguments: tuple[str, ...], part: str
) -> None:
    assert_one_line(leadlight(empty, *arguments), part, exit_code=2)


# No database -----------------------------------------------------------------------------------


# What needs a database, with the least that it has to be told.
NEED_A_DATABASE = {
    "init": (),
    "run": (),
    "train": ("--if-due",),
    "score": (),
    "models list": (),
    "models promote": (TASK, "v1"),
    "models retire": (TASK, "v1"),
    "experiment list": (),
    "experiment plan": ("lead_coupon", "--effect", "2"),
    "status": (),
    "reader": (),
    "simulate": ("--leads", "1", "--days", "1"),
}


@pytest.mark.parametrize("command", NEED_A_DATABASE)
def test_no_profile(
    in_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("DBT_PROFILES_DIR", raising=False)
    nowhere = str(tmp_path)
    arguments = (*command.split(), *NEED_A_DATABASE[command])
    result = invoke(*arguments, HOME=nowhere, LEADLIGHT_HOME=nowhere)
    assert_one_line(result, "no database is configured", "leadlight db start", "profiles.yml")


def test_profile_for_another_database(empty: Settings, tmp_path: Path) -> None:
    output = {"type": "duckdb", "path": "x.db", "schema": "main"}
    result = with_profile(tmp_path, {"target": "dev", "outputs": {"dev": output}})
    assert_one_line(result, str(tmp_path), "duckdb")


def test_profile_without_this_project(empty: Settings, tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text("another: {}")
    assert_one_line(invoke("status", DBT_PROFILES_DIR=str(tmp_path)), str(tmp_path), "leadlight")


def test_profile_that_is_not_yaml(empty: Settings, tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_text("leadlight: [")
    assert_one_line(invoke("status", DBT_PROFILES_DIR=str(tmp_path)), str(tmp_path))


def test_unknown_target(empty: Settings) -> None:
    assert_one_line(leadlight(empty, "--target", "moon", "status"), "moon")


def with_profile(folder: Path, profile: dict[str, Any], *arguments: str) -> Result:
    """Run a command, `status` if none is given, with a profile."""
    (folder / "profiles.yml").write_text(yaml.safe_dump({"leadlight": profile}))
    return invoke(*(arguments or ("status",)), DBT_PROFILES_DIR=str(folder))


@pytest.mark.parametrize("command", NEED_A_DATABASE)
def test_no_server_running(empty: Settings, tmp_path: Path, command: str) -> None:
    output = {"type": "postgres", "host": "127.0.0.1", "port": 1, "user": "nobody"}
    output |= {"password": "secret", "dbname": "nothing", "schema": "leadlight"}
    profile = {"target": "test", "outputs": {"test": output}}
    result = with_profile(tmp_path, profile, *command.split(), *NEED_A_DATABASE[command])
    assert_one_line(result, "no connection", "nothing at 127.0.0.1:1", "is the server running?")
    assert "secret" not in result.output


@pytest.mark.parametrize(("field", "value"), [("dbname", "nothing"), ("user", "nobody")])
def test_server_refuses(empty: Settings, tmp_path: Path, field: str, value: str) -> None:
    profile = yaml.safe_load((empty.profiles_dir / "profiles.yml").read_text())["leadlight"]
    profile["outputs"]["test"][field] = value
    assert_one_line(with_profile(tmp_path, profile), "no connection", value)


@pytest.fixture(scope="module")
def uninitialised(make_database: Callable[[str], Settings]) -> Settings:
    """A database in which nobody ran `leadlight init`."""
    settings = make_database("uninitialised")
    execute(settings, "drop schema tracking, scoring cascade")
    return settings


@pytest.mark.parametrize("command", sorted(set(NEED_A_DATABASE) - {"init", "reader"}))
def test_without_init(uninitialised: Settings, command: str) -> None:
    arguments = (*command.split(), *NEED_A_DATABASE[command])
    assert_one_line(leadlight(uninitialised, *arguments), "leadlight init")


def test_load_without_init(uninitialised: Settings, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("event_id,event_type,user_id,occurred_at\n")
    result = leadlight(uninitialised, "load", "events", str(tmp_path / "events.csv"))
    assert_one_line(result, "leadlight init")


# Tasks and their rows --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "score"])
def test_nothing_built_yet(empty: Settings, command: str) -> None:
    assert_one_line(leadlight(empty, command), "leadlight run --select pre")


def test_status_before_the_first_run(empty: Settings) -> None:
    assert_one_line(leadlight(empty, "status"), "leadlight run")


@pytest.fixture(scope="module")
def built(make_database: Callable[[str], Settings]) -> Settings:
    """A database in which features and labels were built of nothing."""
    settings = make_database("built")
    assert_done(leadlight(settings, "run", "--select", "pre"))
    return settings


def last_run(settings: Settings) -> tuple[str, str, str | None]:
    """Return command, status and error of the last entry in the diary."""
    query = "select command, status, error from scoring.runs order by run_id desc limit 1"
    return fetch(settings, query)[0]


@pytest.mark.parametrize("command", ["train", "score"])
def test_unknown_task(built: Settings, command: str) -> None:
    result = leadlight(built, command, "--task", "lead_conversation")
    assert_one_line(result, "no task lead_conversation", f"known: {', '.join(sorted(TASKS))}")
    told, status, error = last_run(built)
    assert (told, status) == (command, "failed")
    assert "lead_conversation" in error


@pytest.mark.parametrize("task", TASKS)
def test_no_rows_to_train_on(built: Settings, task: str) -> None:
    assert_one_line(leadlight(built, "train", "--task", task), task, "no rows to train on")
    assert last_run(built)[:2] == ("train", "failed")
    assert fetch(built, "select * from scoring.models") == []


def test_no_rows_for_any_task(built: Settings) -> None:
    result = leadlight(built, "train")
    assert_one_line(result, "too little to train", *TASKS)
    for task in TASKS:
        assert f"{task}: no rows to train on" in result.stdout


@pytest.mark.parametrize("did_order", ["true", "false"])
def test_one_class_only(
    built: Settings, copy_database: Callable[[Settings, str], Settings], did_order: str
) -> None:
    settings = copy_database(built, f"class_{did_order}")
    execute(
        settings,
        f"""
        insert into tracking.events (event_id, event_type, user_id, occurred_at, amount)
        select event_type || number, event_type, 'lead-' || number,
            now() - interval '40 days' + number * interval '1 hour' + later, 10
        from generate_series(1, 60) as number,
            (values ('lead_created', interval '0'), ('order_completed', interval '2 days'))
                as v (event_type, later)
        where event_type = 'lead_created' or {did_order}
        """,
    )
    assert_done(leadlight(settings, "run", "--select", "pre"))
    assert_one_line(leadlight(settings, "train", "--task", TASK), TASK, "too few outcomes")
    assert last_run(settings)[:2] == ("train", "failed")
    assert fetch(settings, "select * from scoring.models") == []


# Mistakes in the registry ----------------------------------------------------------------------


def task(**changes: Any) -> Callable[[dict], None]:
    return lambda variables: change(variables["prediction_tasks"][TASK], changes)


def experiment(**changes: Any) -> Callable[[dict], None]:
    return lambda variables: change(variables["experiments"]["lead_coupon"], changes)


def arm(name: str, **changes: Any) -> Callable[[dict], None]:
    return lambda variables: change(variables["experiments"]["lead_coupon"]["arms"][name], changes)


def change(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    entry |= changes
    for name in [name for name, value in changes.items() if value is None]:
        del entry[name]


def rename_task(variables: dict) -> None:
    tasks = variables["prediction_tasks"]
    tasks["lead's conversion"] = tasks.pop(TASK)
    variables["experiments"]["lead_coupon"]["task"] = "lead's conversion"


def name_experiment_like_its_task(variables: dict) -> None:
    experiments = variables["experiments"]
    experiments[TASK] = experiments.pop("lead_coupon")


@pytest.mark.parametrize(
    ("mistake", "parts"),
    [
        (task(kind="ternary"), ("prediction_tasks.lead_conversion.kind", "ternary", "binary")),
        (task(horizon_days=-1), ("prediction_tasks.lead_conversion.horizon_days", "-1")),
        (task(horizon_days="14"), ("prediction_tasks.lead_conversion.horizon_days",)),
        (task(horizon_days=None), ("prediction_tasks.lead_conversion.horizon_days",)),
        (task(features_model="fct_of_nothing"), ("fct_of_nothing",)),
        (task(outcome_event=None), ("prediction_tasks.lead_conversion.outcome_event",)),
        (task(default_threshold=1.5), ("prediction_tasks.lead_conversion.default_threshold",)),
        (task(label_rule="sum_amount"), ("prediction_tasks.lead_conversion.label_rule",)),
        (task(slices="country"), ("prediction_tasks.lead_conversion.slices", "country")),
        (task(slices=["country", "country"]), ("prediction_tasks.lead_conversion.slices",)),
        (task(colour="red"), ("prediction_tasks.lead_conversion", "colour")),
        (experiment(control_arm=None), ("experiments.lead_coupon.control_arm",)),
        (experiment(control_arm="nobody"), ("experiments.lead_coupon.control_arm", "nobody")),
        (experiment(arms=None), ("experiments.lead_coupon.arms", "two arms")),
        (experiment(arms={"control": {"share": 1}}), ("experiments.lead_coupon.arms", "two arms")),
        (
            experiment(arms={"control": {"share": 0.2}, "coupon+letter": {"share": 0.8}}),
            ("experiments.lead_coupon.arms", "coupon+letter", "plus sign"),
        ),
        (arm("coupon", colour="red"), ("experiments.lead_coupon.arms.coupon", "colour", "share")),
        (arm("coupon", share=80), ("experiments.lead_coupon.arms.coupon.share", "80")),
        (arm("coupon", share=0.7), ("experiments.lead_coupon.arms", "0.9", "make together")),
        (arm("coupon", offer_amount=-5), ("experiments.lead_coupon.arms.coupon.offer_amount",)),
        (arm("control", offer_amount=5), ("experiments.lead_coupon.arms.control", "control arm")),
        (
            experiment(guardrails={"newsletter_unsubscribed": "up"}),
            ("experiments.lead_coupon.guardrails.newsletter_unsubscribed", "up", "rise, fall"),
        ),
        (experiment(guardrails=["refund"]), ("experiments.lead_coupon.guardrails", "a map")),
        (experiment(starts_at="soon"), ("experiments.lead_coupon.starts_at", "soon")),
        (experiment(ends_at="2026-13-01"), ("experiments.lead_coupon.ends_at", "2026-13-01")),
        (
            experiment(starts_at="2026-03-01", ends_at="2026-02-28T23:00:00Z"),
            ("experiments.lead_coupon.ends_at", "2026-02-28T23:00:00Z", "after its start"),
        ),
        (
            experiment(starts_at=date(2026, 3, 1), ends_at=date(2026, 3, 1)),
            ("experiments.lead_coupon.ends_at", "after its start, 2026-03-01"),
        ),
        (
            experiment(task=None, eligible=None),
            ("experiments.lead_coupon.covariates", "n_page_views", "without a task"),
        ),
        (experiment(covariates=["score"]), ("experiments.lead_coupon.covariates", "score aside")),
        (experiment(minimum_effect=-1), ("experiments.lead_coupon.minimum_effect", "-1")),
        (experiment(redeemed_event=""), ("experiments.lead_coupon.redeemed_event",)),
        (experiment(task="lead_conversation"), ("experiments.lead_coupon.task", "conversation")),
        (experiment(salt=None), ("experiments.lead_coupon.salt",)),
        (experiment(eligible="everybody"), ("experiments.lead_coupon.eligible", "everybody")),
        (experiment(sale="yes"), ("experiments.lead_coupon", "sale")),
        (rename_task, ("prediction_tasks", "lead's conversion")),
        (name_experiment_like_its_task, ("prediction_tasks.lead_conversion", "no experiment has")),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_mistake_in_the_registry(
    in_project: Path, empty: Settings, mistake: Callable[[dict], None], parts: tuple[str, ...]
) -> None:
    path = in_project / "dbt_project.yml"
    content = yaml.safe_load(path.read_text())
    mistake(content["vars"])
    path.write_text(yaml.safe_dump(content))
    assert_one_line(leadlight(empty, "run", "--select", "pre"), *parts)


def test_project_file_that_is_not_yaml(in_project: Path, empty: Settings) -> None:
    (in_project / "dbt_project.yml").write_text("name: [leadlight")
    assert_one_line(leadlight(empty, "run"), "dbt_project.yml")


def test_wrong_sql_in_a_model(in_project: Path, built: Settings) -> None:
    model = in_project / "models" / "marts" / "shared" / "dim_date.sql"
    sql = model.read_text()
    model.write_text("select 1 as a from nowhere\n")
    try:
        result = leadlight(built, "run", "--select", "pre")
    finally:
        model.write_text(sql)
    assert_one_line(result, "dim_date", "models/marts/shared/dim_date.sql", "nowhere")
