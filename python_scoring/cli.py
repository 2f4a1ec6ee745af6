"""The `leadlight` command: every step of the loop, and the loop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import psycopg
import yaml
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from python_scoring import embedded
from python_scoring.errors import LeadlightError, NotEnoughData
from python_scoring.logs import LoggedGroup, console, say, use_format
from python_scoring.rights import READER
from python_scoring.settings import Settings, find_profiles_dir, find_project_dir, load_settings

PHASES = ("pre", "train", "score", "post")
TLS_MODES = ("require", "verify-ca", "verify-full")


@click.group(
    cls=LoggedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--target", help="Target of the dbt profile; its default without this.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How progress and failures are told: sentences, or one JSON object a line on stderr.",
)
@click.version_option(package_name="leadlight")
@click.pass_context
def main(context: click.Context, target: str | None, log_format: str) -> None:
    """Watch conversion models in SQL: events, features, predictions, metrics, coupon money.

    \b
    A first look:           leadlight demo
    Your own Postgres:      copy profiles.yml.example to profiles.yml, then leadlight init
    Data in, loop round:    leadlight load events FILE... ; leadlight run
    How things stand:       leadlight status
    The same as a page:     leadlight report

    The database is the one of the dbt profile `leadlight` (DBT_PROFILES_DIR, the project's folder,
    ~/.dbt); without a profile it is the embedded one. Exit codes: 0 done or nothing to do, 1 failed
    with one line that says what to do, 2 wrong use; `status` leaves with 3 while an alert of
    severity error is open.
    """
    use_format(log_format)
    context.obj = target


@main.command()
@click.pass_obj
def init(target: str | None) -> None:
    """Create the tables that others write, and the job's own. Safe to repeat."""
    from python_scoring import warehouse

    settings = load_settings(target)
    with warehouse.connect(settings) as connection, database_errors(settings):
        warehouse.create_contract(connection)
    message = f"schemas tracking and scoring are ready in database {settings.dbname}"
    say("initialised", message, database=settings.dbname)


@main.group()
def db() -> None:
    """Start, stop or find the embedded Postgres."""


@db.command("start")
def db_start() -> None:
    """Start the embedded Postgres and write its dbt profile."""
    folder = embedded.state_dir(find_project_dir())
    console.print(embedded.start(folder), soft_wrap=True)
    console.print(f"for dbt: export DBT_PROFILES_DIR={folder}", soft_wrap=True)


@db.command("stop")
def db_stop() -> None:
    """Stop the embedded Postgres; its data stays."""
    if embedded.stop(embedded.state_dir(find_project_dir())):
        console.print("stopped; the data stays")
    else:
        console.print("was not running")


@db.command("url")
def db_url() -> None:
    """Print the URL of the running embedded Postgres, for any client."""
    click.echo(embedded.url(embedded.state_dir(find_project_dir())))


@db.command("psql", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL OPTIONS]...")
def db_psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the running embedded Postgres; it came with the server."""
    url = embedded.url(embedded.state_dir(find_project_dir()))
    psql = str(embedded.psql_path())
    os.execv(psql, [psql, url, *arguments])


@main.command()
@click.option("--leads", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--days", type=click.IntRange(min=1), default=90, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    help="The simulated present, in UTC; the last full hour without this.",
)
@click.pass_obj
def simulate(target: str | None, leads: int, days: int, seed: int, until: datetime | None) -> None:
    """Land the events of made-up businesses, one of them with an incumbent model and its coupons.

    Besides the leads there are visitors of a shop, players, subscribers and customers, in
    proportion to them. The same arguments make the same data. What is true of it (probabilities,
    outcomes, the effect of a coupon) goes to the schema `simulation`, which no model reads.
    """
    run_simulation(load_settings(target), leads, days, seed, until)


@main.command()
@click.argument("kind", type=click.Choice(["events", "predictions", "assignments"]))
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.pass_obj
def load(target: str | None, kind: str, files: tuple[Path, ...]) -> None:
    """Load files in contract shape: CSV, gzipped CSV, Parquet or JSON lines.

    Each file is one transaction, and a file that was loaded before is left alone. Rows that do not
    fit the columns go to tracking.load_rejects with file, line and reason.
    """
    from python_scoring import warehouse
    from python_scoring.loading import load_file

    settings = load_settings(target)
    with warehouse.connect(settings) as connection, database_errors(settings):
        for path in files:
            size = path.stat().st_size if path.is_file() else 0
            with progress_bar(f"load {path.name}", size) as bar:
                result = load_file(connection, kind, path, partial(bar.to, total=size))
            if result.is_repeated:
                message = f"{path.name}: loaded before, nothing to do"
                say("file_known", message, file=str(path))
                continue
            parts = [f"{result.n_rows:,} rows into {result.target}"]
            if result.n_already_there:
                parts.append(f"{result.n_already_there:,} there already")
            if result.n_rejected:
                parts.append(f"{result.n_rejected:,} rejected (tracking.load_rejects says why)")
            say(
                "file_loaded",
                f"{path.name}: {', '.join(parts)}",
                level="warning" if result.n_rejected else "info",
                file=str(path),
                table=result.target,
                rows=result.n_rows,
                rows_already_there=result.n_already_there,
                rows_rejected=result.n_rejected,
            )


@main.command()
@click.option(
    "--select",
    "phases",
    multiple=True,
    type=click.Choice(PHASES),
    help="Only this part of the loop; may be given more than once.",
)
@click.option("--vars", "variables", help="YAML for dbt's --vars, such as '{as_of: 2026-01-31}'.")
@click.option("--full-refresh", is_flag=True, help="Build every incremental model anew.")
@click.pass_obj
def run(
    target: str | None, phases: tuple[str, ...], variables: str | None, full_refresh: bool
) -> None:
    """Go once round the loop: build features, train and score where due, build the metrics."""
    if variables is not None:
        check_variables(variables)
    run_loop(load_settings(target), phases or PHASES, variables, full_refresh)


@main.command()
@click.option("--task", help="Only this task.")
@click.option("--if-due", is_flag=True, help="Only where something speaks for it, as `run` does.")
@click.pass_obj
def train(target: str | None, task: str | None, if_due: bool) -> None:
    """Train, judge on the most recent fifth of time, and promote what beats the champion."""
    settings = load_settings(target)
    with recorded(settings, "train") as (connection, details):
        train_tasks(settings, connection, details, only=task, if_due=if_due)


@main.command()
@click.option("--task", help="Only this task.")
@click.pass_obj
def score(target: str | None, task: str | None) -> None:
    """Score what the champion has not scored yet, and assign who is eligible to an experiment."""
    from python_scoring import ledger

    settings = load_settings(target)
    with recorded(settings, "score") as (connection, details):
        ledger.refuse_changes(connection, settings)
        score_tasks(settings, connection, details, only=task)


@main.group()
def models() -> None:
    """See the versions of a task's model, and say which one is champion."""


@models.command("list")
@click.option("--task", help="Only this task.")
@click.pass_obj
def models_list(target: str | None, task: str | None) -> None:
    """Show every version that was trained, the newest first."""
    from python_scoring import warehouse
    from python_scoring.status import print_models, read_models

    settings = load_settings(target)
    where, parameters = ("", []) if task is None else ("where task = %s", [task])
    with warehouse.connect(settings) as connection, database_errors(settings):
        print_models(console, read_models(connection, where, parameters))


@models.command("promote")
@click.argument("task")
@click.argument("model_version")
@click.pass_obj
def models_promote(target: str | None, task: str, model_version: str) -> None:
    """Make a version champion; the present one retires. A rollback is this, too."""
    from python_scoring import registry

    with recorded(load_settings(target), "promote") as (connection, details):
        former = registry.promote(connection, task, model_version)
        details.update(task=task, model_version=model_version, former=former)
        message = f"{model_version} is champion of {task}, in the place of {former}"
        say("model_promoted", message, task=task, model_version=model_version, former=former)


@models.command("retire")
@click.argument("task")
@click.argument("model_version")
@click.pass_obj
def models_retire(target: str | None, task: str, model_version: str) -> None:
    """Retire a challenger: it is scored no more."""
    from python_scoring import registry

    with recorded(load_settings(target), "retire") as (connection, details):
        registry.retire(connection, task, model_version)
        details.update(task=task, model_version=model_version)
        message = f"{model_version} of {task} is retired"
        say("model_retired", message, task=task, model_version=model_version)


@main.group()
def experiment() -> None:
    """See how experiments stand, and plan one."""


@experiment.command("list")
@click.pass_obj
def experiment_list(target: str | None) -> None:
    """Show arms, dates and how many were assigned so far."""
    from python_scoring import summary, warehouse

    settings = load_settings(target)
    with warehouse.connect(settings) as connection, database_errors(settings):
        summary.print_experiments(console, connection, settings)


@experiment.command("plan")
@click.argument("name", metavar="EXPERIMENT")
@click.option(
    "--effect",
    "points",
    required=True,
    type=click.FloatRange(-100, 100, min_open=True, max_open=True),
    help="Least difference in conversion that is to be found, in percentage points.",
)
@click.option(
    "--power",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.8,
    show_default=True,
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
)
@click.pass_obj
def experiment_plan(
    target: str | None, name: str, points: float, power: float, alpha: float
) -> None:
    """Say how many entities and days it takes to find an effect, with CUPED and without.

    An arm that differs from the control arm by --effect is found to differ, at the level --alpha,
    with probability --power. The rate without an offer is that of the control arm, or else of those
    whom the task's model would have made eligible.
    """
    from python_scoring import planning, summary, warehouse

    if points == 0:
        raise click.BadParameter("no effect cannot be found", param_hint="--effect")
    settings = load_settings(target)
    with warehouse.connect(settings) as connection, database_errors(settings):
        plan = planning.plan(connection, settings, name, points / 100, power, alpha)
    summary.print_plan(console, plan)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
@click.pass_obj
def status(target: str | None, as_json: bool) -> None:
    """Show alerts, freshness, the last runs, the champions, and what waits for its label.

    Leaves with exit code 3 while an alert of severity error is open.
    """
    from python_scoring import warehouse
    from python_scoring.status import has_open_error, print_status, read_status

    settings = load_settings(target)
    with warehouse.connect(settings) as connection, database_errors(settings):
        found = read_status(connection, settings)
    if as_json:
        click.echo(json.dumps(found, default=str, indent=2))
    else:
        print_status(console, found)
    if has_open_error(found):
        raise click.exceptions.Exit(3)


@main.command()
@click.argument("role", default=READER)
@click.pass_obj
def reader(target: str | None, role: str) -> None:
    """Let a role read the marts and nothing else, for Metabase or any client. Safe to repeat.

    Makes the role (leadlight_reader without a name) if it is missing. Its password is that of the
    environment variable LEADLIGHT_READER_PASSWORD; without it the password stays as it is.
    """
    from python_scoring import warehouse
    from python_scoring.rights import make_reader

    settings = load_settings(target)
    password = os.environ.get("LEADLIGHT_READER_PASSWORD")
    with warehouse.connect(settings) as connection, database_errors(settings):
        schemas = make_reader(connection, settings, role, password)
    say("reader_ready", f"{role} may read {', '.join(schemas)}", role=role, schemas=schemas)


@main.command()
@click.option("--database-host", help="The database as Metabase sees it; the profile's host else.")
@click.option("--database-port", type=int, help="Its port as Metabase sees it.")
@click.pass_obj
def metabase(target: str | None, database_host: str | None, database_port: int | None) -> None:
    """Make or update the dashboards of dashboards/metabase in a Metabase. Safe to repeat.

    METABASE_URL is its address (http://localhost:3000 without it). METABASE_EMAIL and
    METABASE_PASSWORD are of an administrator, who is made on a fresh Metabase. Metabase reads the
    database as leadlight_reader, with LEADLIGHT_READER_PASSWORD: see `leadlight reader`.
    """
    from python_scoring.metabase import Metabase, provision

    settings = load_settings(target)
    names = ("METABASE_EMAIL", "METABASE_PASSWORD", "LEADLIGHT_READER_PASSWORD")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise LeadlightError(f"set the environment variables {', '.join(missing)} first")
    host = database_host or settings.host
    if host.startswith("/"):
        raise LeadlightError(
            f"Metabase reaches no Unix socket ({host}): give the database's --database-host"
        )
    client = Metabase(os.environ.get("METABASE_URL", "http://localhost:3000"))
    if client.sign_in(os.environ["METABASE_EMAIL"], os.environ["METABASE_PASSWORD"]):
        say("metabase_set_up", f"made {os.environ['METABASE_EMAIL']} the first user")
    connection = {
        "host": host,
        "port": database_port or settings.port,
        "dbname": settings.dbname,
        "user": READER,
        "password": os.environ["LEADLIGHT_READER_PASSWORD"],
        "ssl": settings.connection_options.get("sslmode")
        in ("require", "verify-ca", "verify-full"),
    }
    for name, link in provision(client, settings.project_dir, connection).items():
        say("dashboard_ready", f"{name}: {link}", dashboard=name, link=link)


@main.command()
@click.option("--task", help="Only this task, and the experiments that it drives.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="leadlight-report.html",
    show_default=True,
    help="The file to write.",
)
@click.pass_obj
def report(target: str | None, task: str | None, out: Path) -> None:
    """Write the marts as one page with charts, which opens from disk and loads nothing."""
    from python_scoring import warehouse

    settings = load_settings(target)
    with warehouse.connect(settings) as connection, database_errors(settings):
        create_report(settings, connection, out, task)


@main.command()
@click.pass_obj
def docs(target: str | None) -> None:
    """Write the dbt docs site as one page that opens from disk."""
    from python_scoring.docs_site import write_docs

    settings = load_settings(target)
    with console.status("writing the docs site"):
        page = write_docs(settings)
    say("docs_written", str(page), page=page)


@main.command()
@click.option("--leads", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--days", type=click.IntRange(min=1), default=90, show_default=True)
def demo(leads: int, days: int) -> None:
    """Everything once, on made-up data, and a summary. Safe to repeat."""
    from python_scoring import summary, warehouse

    started = time.monotonic()
    settings = demo_settings()
    with warehouse.connect(settings) as connection, database_errors(settings):
        warehouse.create_contract(connection)
        has_events = connection.execute("select exists (select 1 from tracking.events)").fetchone()[
            0
        ]
    if not has_events:
        run_simulation(settings, leads, days, seed=1, until=None)
    else:
        say("events_found", "there are events already, nothing to simulate")
    run_loop(settings, PHASES, variables=None, full_refresh=False)
    with warehouse.connect(settings) as connection, database_errors(settings):
        summary.print_summary(console, connection, settings)
        seconds = time.monotonic() - started
        say("demo_done", f"took {seconds:.0f} s", seconds=round(seconds, 1))
        page = settings.project_dir / "target" / "report.html"
        page.parent.mkdir(exist_ok=True)
        create_report(settings, connection, page)


def demo_settings() -> Settings:
    """Return the target of the profile; without a profile, the embedded database, started."""
    folder = embedded.state_dir(find_project_dir())
    try:
        profiles_dir = find_profiles_dir(find_project_dir())
    except LeadlightError:
        profiles_dir = folder
    if profiles_dir == folder:
        embedded.start(folder)
    return load_settings()


def create_report(
    settings: Settings, connection: psycopg.Connection, path: Path, task: str | None = None
) -> None:
    """Write the report and say where it is."""
    from python_scoring.report import write_report

    with console.status("drawing the report"):
        write_report(connection, settings, task, path)
    say("report_written", f"report: {path.resolve()}", path=str(path.resolve()))


def check_variables(variables: str) -> None:
    """Refuse --vars that are no YAML map, before anything starts."""
    try:
        parsed = yaml.safe_load(variables)
    except yaml.YAMLError as error:
        raise click.BadParameter(f"not YAML: {variables}", param_hint="--vars") from error
    if not isinstance(parsed, dict):
        raise click.BadParameter(f"not a map of variables: {variables}", param_hint="--vars")


def run_simulation(
    settings: Settings, n_leads: int, n_days: int, seed: int, until: datetime | None
) -> None:
    """Simulate what the registry plans, and land what comes out."""
    from python_scoring import warehouse
    from python_scoring.simulation import plan_from_project, simulate, write_simulation

    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    until = until.replace(tzinfo=UTC) if until is not None else now
    plan = plan_from_project(settings.project_dir)
    with console.status(f"simulating {n_leads:,} leads and other businesses over {n_days} days"):
        simulation = simulate(n_leads, n_days, seed, until, **plan)
    n_rows = sum(len(frame) for frame in simulation.tables().values())
    with (
        warehouse.connect(settings) as connection,
        database_errors(settings),
        progress_bar("land simulated rows", n_rows) as advance,
        connection.transaction(),
    ):
        write_simulation(connection, simulation, seed, advance)
    say(
        "simulated",
        f"landed {len(simulation.events):,} events, {len(simulation.predictions):,} predictions "
        f"of the incumbent and {len(simulation.assignments):,} assignments",
        events=len(simulation.events),
        predictions=len(simulation.predictions),
        assignments=len(simulation.assignments),
    )


def run_loop(
    settings: Settings, phases: tuple[str, ...], variables: str | None, full_refresh: bool
) -> None:
    """Run phases of the loop in their order, under one lock and one row of the diary."""
    from python_scoring import ledger

    with recorded(settings, "run") as (connection, details):
        for phase in PHASES:
            if phase not in phases:
                continue
            if phase != "pre":
                ledger.refuse_changes(connection, settings)
            if phase == "train":
                train_tasks(settings, connection, details, if_due=True)
            elif phase == "score":
                score_tasks(settings, connection, details)
            else:
                build(settings, details, phase, variables, full_refresh)


def build(
    settings: Settings, details: dict[str, Any], phase: str, variables: str | None, refresh: bool
) -> None:
    """Build the seeds and models of a selector; tests are for `dbt test`."""
    from python_scoring.dbt_runner import run_dbt

    command = ["build", "--selector", phase, "--exclude-resource-type", "test", "unit_test"]
    if refresh:
        command.append("--full-refresh")
    with progress_bar(f"dbt build --selector {phase}", None) as advance:
        details[phase] = run_dbt(settings, command, variables, advance.to)
    message = f"{phase}: {details[phase]} models and seeds built"
    say("built", message, selector=phase, nodes=details[phase])


def train_tasks(
    settings: Settings,
    connection: psycopg.Connection,
    details: dict[str, Any],
    only: str | None = None,
    if_due: bool = False,
) -> None:
    """Train every task, or those that are due, and say what came of it."""
    from python_scoring.status import metrics_in_words
    from python_scoring.tasks import read_tasks
    from python_scoring.training import reason_to_train
    from python_scoring.training import train as train_task

    trained: dict[str, Any] = details.setdefault("trained", {})
    not_yet: list[str] = []
    for task in read_tasks(connection, settings, only):
        due = reason_to_train(connection, settings, task) if if_due else "asked for"
        if due is None:
            say("training_not_due", f"train: {task.task} is not due", task=task.task)
            continue
        try:
            with console.status(f"training {task.task} ({due})"):
                result = train_task(settings, connection, task)
        except NotEnoughData as error:
            # The loop goes on: other tasks and the metrics do not depend on it.
            if only is not None:
                raise
            message = f"train: not yet, {error.format_message()}"
            say("training_not_possible", message, level="warning", task=task.task)
            not_yet.append(task.task)
            continue
        trained[task.task] = {
            "because": due,
            "model_version": result.model_version,
            "is_champion": result.is_champion,
            "reason": result.reason,
        }
        verdict = "champion" if result.is_champion else "challenger"
        metrics = metrics_in_words(result.metrics)
        say(
            "task_trained",
            f"train: {task.task} {result.model_version} is {verdict} ({result.reason}): "
            f"{result.algorithm.replace('_', ' ')} of {result.n_trials} trials on "
            f"{result.n_trained:,} rows; {metrics}",
            task=task.task,
            algorithm=result.algorithm,
            rows=result.n_trained,
            metrics=result.metrics,
            **trained[task.task],
        )
    if not_yet and not if_due:
        raise LeadlightError(f"there is too little to train {', '.join(not_yet)} with; see above")


def score_tasks(
    settings: Settings,
    connection: psycopg.Connection,
    details: dict[str, Any],
    only: str | None = None,
) -> None:
    """Score every task that has a model, and say what came of it."""
    from python_scoring.scoring import score as score_task
    from python_scoring.tasks import read_tasks

    scored: dict[str, Any] = details.setdefault("scored", {})
    for task in read_tasks(connection, settings, only):
        with progress_bar(f"score {task.task}", None) as advance:
            results = score_task(settings, connection, task, advance.to)
        if not results:
            message = f"score: {task.task} has no champion yet"
            say("no_champion", message, level="warning", task=task.task)
        for result in results:
            name = f"{task.task} {result.model_version}"
            shadow = "" if result.is_champion else " in the champion's shadow"
            assigned = "".join(f", {n:,} assigned to {e}" for e, n in result.n_assigned.items())
            scored[name] = {
                "predictions": result.n_scored,
                "assignments": sum(result.n_assigned.values()),
            }
            if result.n_scored == 0:
                message = f"score: {name} has nothing to score"
            else:
                message = f"score: {name} scored {result.n_scored:,} rows{shadow}{assigned}"
            say(
                "task_scored",
                message,
                task=task.task,
                model_version=result.model_version,
                is_champion=result.is_champion,
                **scored[name],
            )


@contextmanager
def recorded(
    settings: Settings, command: str
) -> Iterator[tuple[psycopg.Connection, dict[str, Any]]]:
    """Run a command as `runs.recorded_run` does; leave if another one runs.

    With exit code 0 what a schedule begins once more by itself, with 1 what a person asked for.
    """
    from python_scoring.runs import AlreadyRunning, recorded_run

    try:
        with recorded_run(settings, command) as work:
            yield work
    except AlreadyRunning:
        if command in ("promote", "retire"):
            raise LeadlightError(
                f"another run is at work on this database: {command} again when it has ended"
            ) from None
        say("already_running", "another run is at work on this database, nothing to do here")
        raise click.exceptions.Exit(0) from None


@contextmanager
def database_errors(settings: Settings) -> Iterator[None]:
    """Turn what the database refuses into one line."""
    from python_scoring import warehouse

    try:
        yield
    except psycopg.OperationalError as error:
        raise warehouse.unreachable(settings, error) from error
    except psycopg.errors.UndefinedTable as error:
        raise LeadlightError(
            f"a table is missing in database {settings.dbname} ({error.diag.message_primary}): "
            "run `leadlight init`, then `leadlight run`"
        ) from error
    except psycopg.Error as error:
        raise LeadlightError(f"the database refused: {error}") from error


class Advance:
    """Moves a progress bar: called with a step, or `to` with done and total."""

    def __init__(self, progress: Progress, task_id: Any) -> None:
        self._move = lambda **change: progress.update(task_id, **change)

    def __call__(self, step: int) -> None:
        """Move on by a step."""
        self._move(advance=step)

    def to(self, done: int, total: int) -> None:
        """Move to a place."""
        self._move(completed=done, total=total)


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Advance]:
    """Show a bar while something takes its time; it goes when that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield Advance(progress, progress.add_task(label, total=total))
