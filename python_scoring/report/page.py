"""Writes the page: one file that opens from disk, and loads nothing."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import jinja2
import psycopg
from altair.utils.schemapi import debug_mode
from markupsafe import Markup

from python_scoring.errors import LeadlightError
from python_scoring.report import (
    binary,
    clustering,
    experiment,
    models,
    overview,
    regression,
    words,
)
from python_scoring.report.figures import Section
from python_scoring.report.marts import Marts, Row
from python_scoring.settings import Settings

FOLDER = Path(__file__).parent
KINDS = {
    "binary": (binary.section, "yes or no"),
    "regression": (regression.section, "amount"),
    "clustering": (clustering.section, "segments"),
}


def write_report(
    connection: psycopg.Connection, settings: Settings, task: str | None, path: Path
) -> None:
    """Write the report of one task or of all.

    Raises:
        LeadlightError: the registry does not hold the task, or the file cannot be written.
    """
    if path.is_dir():
        raise _unwritable(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    # All or nothing, and what is there stays until all is written.
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(render(connection, settings, task))
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> LeadlightError:
    return LeadlightError(f"cannot write {path}: {error.strerror}; --out names another file")


def render(connection: psycopg.Connection, settings: Settings, task: str | None) -> str:
    """Return the page, read in one transaction so that its numbers are of one moment."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        marts = Marts(connection, settings)
        tasks = marts.tasks()
        if task is not None:
            known = ", ".join(row["task"] for row in tasks) or "none"
            tasks = [row for row in tasks if row["task"] == task]
            if not tasks:
                raise LeadlightError(
                    f"there is no task {task} in dbt_project.yml (vars.prediction_tasks); "
                    f"known: {known}"
                )
        # Checking each chart against the schema takes as long as drawing it.
        with debug_mode(False):
            experiments = experiment.sections(marts, task)
            sections = [_section(marts, row) for row in tasks]
        return _template().render(
            words=words,
            style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
            only=task,
            dbname=marts.dbname,
            written_at=words.minute(marts.now()),
            overview=overview.read(marts, task),
            experiments=experiments,
            tasks=sections,
        )


def _section(marts: Marts, task: Row) -> Section:
    shown = models.choose(marts, task)
    if shown is None:
        return Section(
            anchor=f"task-{task['task']}",
            title=words.title(task["task"]),
            kicker=task["task"],
            description=task["description"],
            empty="No model was trained for it, and nobody's predictions were loaded. "
            f"`leadlight train --task {task['task']}` trains one.",
        )
    make, _ = KINDS[task["kind"]]
    return make(marts, task, shown)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template("page.html.j2")


def _code(sentence: str) -> Markup:
    """Return a sentence whose `commands` are set as code; what stands before a % stays there."""
    parts = sentence.replace(" %", f"{words.THIN}%").split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else Markup.escape(part)
        for number, part in enumerate(parts)
    )
