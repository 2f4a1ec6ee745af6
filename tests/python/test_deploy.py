"""What schedules the loop: the files are well formed, and every command they name exists.

None of these schedulers runs here. Compose files and workflows are held against their published
schemas, units against systemd where it is there, Python against stand-ins for what it imports.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest
import yaml
from conftest import PROJECT_DIR
from dbt.cli.main import cli as dbt
from helpers import PROJECT

from python_scoring.cli import PHASES, main

DEPLOY = PROJECT_DIR / "deploy"
COMPOSE = PROJECT_DIR / "docker-compose.yml"
WORKFLOW = DEPLOY / "github_actions" / "leadlight.yml"
CRONJOB = DEPLOY / "kubernetes" / "cronjob.yml"
DOCKERFILE = DEPLOY / "Dockerfile"
SERVICE = DEPLOY / "systemd" / "leadlight.service"
TIMER = DEPLOY / "systemd" / "leadlight.timer"
HOME = "/opt/leadlight"
EVERY_HOUR = re.compile(r"(\d|[1-5]\d) \* \* \* \*")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# What each file runs ---------------------------------------------------------------------------


def commands(shell: str) -> list[list[str]]:
    """Return the simple commands of a shell line, without what they redirect."""
    lexer = shlex.shlex(shell, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    tokens = iter(lexer)
    for token in tokens:
        if token in {"&&", "||", ";", "{", "}", "do", "done", "while"}:
            found.append([])
        elif token in {">", ">>"}:
            next(tokens)
        else:
            found[-1].append(token)
    return [command for command in found if command]


def of_argv(argv: list[str]) -> list[list[str]]:
    """Return what a list of arguments runs: itself, or the commands of its shell line."""
    return commands(argv[2]) if argv[:2] == ["sh", "-c"] else [argv]


def of_cron() -> list[list[str]]:
    (line,) = [
        line
        for line in (DEPLOY / "leadlight.cron").read_text().splitlines()
        if re.match(r"[\d*]", line)
    ]
    *schedule, user, shell = line.split(maxsplit=6)
    assert EVERY_HOUR.fullmatch(" ".join(schedule))
    assert user == "leadlight"
    assert "%" not in shell, "cron takes it for a new line"
    return commands(shell)


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit, each with its settings, which may stand more than once."""
    sections: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = sections[match[1]]
        elif line and not line.startswith("#"):
            name, value = line.split("=", 1)
            section[name].append(value)
    return sections


def of_systemd() -> list[list[str]]:
    return [shlex.split(command) for command in unit(SERVICE)["Service"]["ExecStart"]]


def container() -> dict[str, Any]:
    (container,) = load(CRONJOB)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return container


def of_workflow() -> list[list[str]]:
    (job,) = load(WORKFLOW)["jobs"].values()
    return [command for step in job["steps"] if "run" in step for command in commands(step["run"])]


def of_compose() -> list[list[str]]:
    services = load(COMPOSE)["services"].values()
    started = [service["command"] for service in services if "command" in service]
    return [argv for command in started for argv in of_argv(command)]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with what follows each."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line]


def of_dockerfile() -> list[list[str]]:
    found = []
    for instruction, rest in instructions():
        if instruction == "CMD":
            found.append(json.loads(rest))
        elif instruction == "RUN":
            found += commands(rest)
    return found


def of_airflow() -> list[list[str]]:
    """Return the commands of the DAG's tasks, in the order in which they are chained."""
    chained: list[Any] = []

    class DAG:
        def __init__(self, name: str, **options: Any) -> None:
            assert EVERY_HOUR.fullmatch(options["schedule"])
            assert options["max_active_runs"] == 1 and options["catchup"] is False
            assert options["default_args"]["cwd"] == HOME

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    operators = "airflow.providers.standard.operators"
    modules = {name: ModuleType(name) for name in ("airflow", "airflow.sdk", f"{operators}.bash")}
    modules["airflow.sdk"].DAG = DAG
    modules["airflow.sdk"].chain = lambda *tasks: chained.extend(tasks)
    modules[f"{operators}.bash"].BashOperator = SimpleNamespace
    run_with(modules, DEPLOY / "airflow" / "leadlight_dag.py")
    names = [task.task_id for task in chained]
    assert names == ["freshness", *PHASES, "status"]
    return [command for task in chained for command in commands(task.bash_command)]


def of_dagster() -> list[list[str]]:
    """Return the commands of the job's ops, in the order in which they depend on each other."""
    called: list[list[str]] = []
    schedules: list[Any] = []

    def op(**options: Any) -> Callable:
        def decorate(run: Callable) -> Callable:
            def call(*before: object) -> None:
                run()

            return call

        return decorate

    module = ModuleType("dagster")
    module.op = op
    module.job = lambda run: run
    module.In = module.Out = lambda kind: kind
    module.Nothing = module.OpDefinition = None
    module.RetryPolicy = SimpleNamespace
    module.ScheduleDefinition = SimpleNamespace
    module.Definitions = lambda jobs, schedules: SimpleNamespace(jobs=jobs, schedules=schedules)

    def run(command: tuple[str, ...], cwd: str, check: bool) -> None:
        assert (cwd, check) == (HOME, True)
        called.append(list(command))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run)
        names = run_with({"dagster": module}, DEPLOY / "dagster" / "leadlight_jobs.py")
        definitions = names["definitions"]
        schedules = definitions.schedules
        (job,) = definitions.jobs
        job()
    assert [schedule.job for schedule in schedules] == [job]
    assert EVERY_HOUR.fullmatch(schedules[0].cron_schedule)
    return called


def run_with(modules: dict[str, ModuleType], path: Path) -> dict[str, Any]:
    """Run a file with stand-ins for the modules that it imports; return its names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
            # Python asks for the packages on the way, too.
            for parent in Path(name.replace(".", "/")).parents[:-1]:
                above = ".".join(parent.parts)
                patch.setitem(sys.modules, above, sys.modules.get(above, ModuleType(above)))
        return runpy.run_path(str(path))


SCHEDULES: dict[str, Callable[[], list[list[str]]]] = {
    "cron": of_cron,
    "systemd": of_systemd,
    "kubernetes": lambda: of_argv(container()["command"]),
    "github_actions": of_workflow,
    "airflow": of_airflow,
    "dagster": of_dagster,
    "compose": of_compose,
    "docker": of_dockerfile,
}


def program(command: list[str]) -> str:
    return Path(command[0]).name


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_command_exists(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # dbt asks for the folder as soon as it reads its options.
    monkeypatch.setenv("DBT_PROFILES_DIR", str(PROJECT_DIR))
    groups = {"leadlight": main, "dbt": dbt}
    found = SCHEDULES[schedule]()
    assert found
    for command in found:
        if program(command) in groups:
            assert_accepted(groups[program(command)], command[1:])
        elif program(command) == "make":
            assert f"\n{command[1]}:" in (PROJECT_DIR / "Makefile").read_text(), command


def assert_accepted(group: click.Group, arguments: list[str]) -> None:
    """The command line is understood down to its last option; nothing runs."""
    context = group.make_context(group.name, list(arguments))
    while isinstance(group, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        group = command


@pytest.mark.parametrize(
    "arguments", [["fly"], ["run", "--select", "sideways"], ["--log-format", "xml", "run"]]
)
def test_wrong_commands_are_seen(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        assert_accepted(main, arguments)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_goes_once_round_the_whole_loop(schedule: str) -> None:
    ours = [command[1:] for command in SCHEDULES[schedule]() if program(command) == "leadlight"]
    runs = [arguments for arguments in ours if "run" in arguments]
    selected = [arguments[-1] for arguments in runs if "--select" in arguments]
    assert selected == list(PHASES) or (len(runs), selected) == (1, [])
    if schedule not in {"compose", "docker"}:
        # Then it looks at the alerts, last of all: an open error is a failed run.
        assert ours[-1] == ["status"]


def test_the_parts_in_sql_are_selectors() -> None:
    selectors = {selector["name"] for selector in load(PROJECT_DIR / "selectors.yml")["selectors"]}
    assert set(PHASES) - {"train", "score"} <= selectors


def test_every_file_is_looked_at_here() -> None:
    found = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert {name for name in found if "__pycache__" not in name} == {
        "Dockerfile",
        "Dockerfile.dockerignore",
        "airflow/leadlight_dag.py",
        "compose.env.example",
        "dagster/leadlight_jobs.py",
        "github_actions/leadlight.yml",
        "kubernetes/cronjob.yml",
        "leadlight.cron",
        "systemd/leadlight.service",
        "systemd/leadlight.timer",
    }


# Whether each file is well formed --------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("compose-spec", COMPOSE),
        ("github-workflows", WORKFLOW),
        ("github-workflows", PROJECT_DIR / ".github" / "workflows" / "ci.yml"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_files_are_as_their_published_schema_says(schema: str, path: Path, tmp_path: Path) -> None:
    assert schema_errors(schema, path) == ""
    broken = load(path)
    # YAML takes the key `on` of a workflow for a truth value.
    broken["jobs" if schema == "github-workflows" else "services"] = ["a list"]
    (tmp_path / "broken.yml").write_text(yaml.safe_dump(broken))
    assert "['a list']" in schema_errors(schema, tmp_path / "broken.yml")


def schema_errors(schema: str, path: Path) -> str:
    """Return what check-jsonschema finds, with the schemas that it brings along."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [str(checker), "--builtin-schema", f"vendor.{schema}", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout if result.returncode else ""


def test_compose_names_what_it_defines() -> None:
    compose = load(COMPOSE)
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for waited_for, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[waited_for]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"], name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], name
        # A pinned version: nothing changes by itself.
        assert re.search(r":v?\d+[\d.]*$", service["image"]), name
        if "build" in service:
            assert (PROJECT_DIR / service["build"]["dockerfile"]).is_file()
        # Whoever is on the machine reaches it, and nobody else.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_compose_asks_for_every_password() -> None:
    text = COMPOSE.read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert asked == set(re.findall(r"\$\{?(\w+)", text)), "one has a default"
    example = (DEPLOY / "compose.env.example").read_text()
    assert asked == set(re.findall(r"^(\w+)=$", example, flags=re.MULTILINE))


def test_cronjob_is_one_that_kubernetes_takes() -> None:
    """The fields that the API requires, and those that go wrong unnoticed."""
    cronjob = load(CRONJOB)
    assert (cronjob["apiVersion"], cronjob["kind"]) == ("batch/v1", "CronJob")
    assert re.fullmatch(r"[a-z0-9-]{1,52}", cronjob["metadata"]["name"])
    spec = cronjob["spec"]
    assert EVERY_HOUR.fullmatch(spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] in ("Never", "OnFailure")
    assert pod["securityContext"]["runAsNonRoot"] is True
    user = dict(instructions())["USER"]
    assert str(pod["securityContext"]["runAsUser"]) == user
    assert container()["image"] == load(COMPOSE)["services"]["job"]["image"]
    for amount in container()["resources"].values():
        assert all(re.fullmatch(r"\d+(m|Mi|Gi)?", value) for value in amount.values())


def test_units_belong_together() -> None:
    service, timer = unit(SERVICE), unit(TIMER)
    assert service["Service"]["Type"] == ["oneshot"]
    assert service["Service"]["WorkingDirectory"] == [HOME]
    assert all(command[0].startswith(f"{HOME}/.venv/bin/") for command in of_systemd())
    assert timer["Timer"]["Persistent"] == ["true"]
    assert timer["Install"]["WantedBy"] == ["timers.target"]
    assert TIMER.stem == SERVICE.stem


@pytest.fixture
def units(tmp_path: Path) -> Iterator[Path]:
    """The units, as if this checkout stood where they expect it."""
    for path in (SERVICE, TIMER):
        (tmp_path / path.name).write_text(path.read_text().replace(HOME, str(PROJECT_DIR)))
    yield tmp_path


def verify(units: Path) -> str:
    """Return what systemd finds in the units."""
    paths = [str(path) for path in sorted(units.iterdir())]
    result = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False
    )
    # It also tells what it finds in other units of the machine.
    return "\n".join(line for line in result.stderr.splitlines() if "leadlight" in line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze not found")
def test_systemd_takes_the_units(units: Path) -> None:
    assert verify(units) == ""
    service = units / SERVICE.name
    service.write_text(service.read_text().replace("Type=oneshot", "Type=sometimes"))
    assert "sometimes" in verify(units)


def test_image_is_built_from_what_is_there() -> None:
    found = instructions()
    assert found[0][0] == "FROM" and re.fullmatch(r"python:3\.\d+-slim", found[0][1])
    names = [name for name, _ in found]
    assert names[-2:] == ["USER", "CMD"], "not as root"
    assert (PROJECT_DIR / "profiles.yml.example").is_file()
    # Neither what the image makes for itself comes along from a laptop, nor a password.
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {".venv", "dbt_packages", "profiles.yml", ".env"} <= set(ignored)


def test_deployed_version_is_this_one() -> None:
    assert load(COMPOSE)["services"]["job"]["image"] == f"leadlight:{PROJECT['version']}"
