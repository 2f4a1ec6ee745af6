"""Where the project is and which database it talks to: one place, the dbt profile."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from python_scoring import embedded
from python_scoring.errors import LeadlightError

PROFILE_NAME = "leadlight"


@dataclass(frozen=True)
class Settings:
    """The connection of one dbt target, and the folders that belong to it."""

    project_dir: Path
    profiles_dir: Path
    target: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str
    schema: str
    threads: int
    connection_options: dict[str, str] = field(default_factory=dict)

    def relation(self, layer: str, name: str) -> str:
        """Return the quoted name of a dbt relation: schema `<target schema>_<layer>`."""
        return f'"{self.schema}_{layer}"."{name}"'


def find_project_dir() -> Path:
    """Return the dbt project: the nearest folder upwards that holds one, else this checkout."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dbt_project.yml").is_file():
            return folder
    return Path(__file__).resolve().parent.parent


def find_profiles_dir(project_dir: Path) -> Path:
    """Return the folder of the profiles.yml in force, in dbt's order, then the embedded one.

    Raises:
        LeadlightError: there is no profile and the embedded database was never started.
    """
    if configured := os.environ.get("DBT_PROFILES_DIR"):
        return Path(configured).expanduser()
    for folder in (project_dir, Path.home() / ".dbt"):
        profiles = folder / "profiles.yml"
        if profiles.is_file() and f"{PROFILE_NAME}:" in profiles.read_text(encoding="utf-8"):
            return folder
    folder = embedded.state_dir(project_dir)
    if (folder / "profiles.yml").is_file():
        return folder
    raise LeadlightError(
        "no database is configured: start the embedded one with `leadlight db start`, or copy "
        "profiles.yml.example to profiles.yml for a Postgres of your own"
    )


def load_settings(target: str | None = None) -> Settings:
    """Read the dbt profile, exactly as dbt does, and return its connection.

    Raises:
        LeadlightError: the profile is missing, malformed, or not for Postgres.
    """
    # dbt takes a second to import; commands that need no database should not wait for it.
    from dbt.config.runtime import load_profile
    from dbt.flags import set_from_args
    from dbt_common.exceptions import DbtBaseException

    project_dir = find_project_dir()
    profiles_dir = find_profiles_dir(project_dir)
    try:
        set_from_args(Namespace(PROFILES_DIR=str(profiles_dir), project_dir=str(project_dir)), None)
        profile = load_profile(str(project_dir), {}, target_override=target)
    except DbtBaseException as error:
        raise LeadlightError(
            f"{project_dir / 'dbt_project.yml'} or the dbt profile in {profiles_dir} is not "
            f"usable: {error}"
        ) from error
    if profile.credentials.type != "postgres":
        raise LeadlightError(
            f"the dbt profile in {profiles_dir} is for {profile.credentials.type}: "
            "leadlight runs on Postgres"
        )
    credentials = profile.credentials.to_dict()
    options = ("sslmode", "sslcert", "sslkey", "sslrootcert", "role")
    return Settings(
        project_dir=project_dir,
        profiles_dir=profiles_dir,
        target=profile.target_name,
        host=credentials["host"],
        port=int(credentials["port"]),
        user=credentials["user"],
        password=credentials.get("password") or credentials.get("pass") or "",
        dbname=credentials.get("database") or credentials["dbname"],
        schema=credentials["schema"],
        threads=profile.threads,
        connection_options={name: credentials[name] for name in options if credentials.get(name)},
    )
