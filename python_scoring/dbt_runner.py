"""dbt, run inside the job: the same project, profile and target, with its failures in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from python_scoring.errors import LeadlightError
from python_scoring.settings import Settings


def run_dbt(
    settings: Settings,
    arguments: Sequence[str],
    variables: str | None = None,
    on_node: Callable[[int, int], None] | None = None,
) -> int:
    """Run a dbt command quietly; return how many nodes it ran.

    Args:
        settings: Project, profile and target to run with.
        arguments: The command and its options, such as `["build", "--selector", "pre"]`.
        variables: YAML for `--vars`, or None.
        on_node: Called after each node with the number done and the number in all.

    Raises:
        LeadlightError: dbt does not parse the project, or a node failed.
    """
    from dbt.cli.main import dbtRunner

    n_done = 0

    def watch(event: Any) -> None:
        nonlocal n_done
        if on_node is not None and event.info.name == "LogModelResult":
            n_done += 1
            on_node(n_done, event.data.total)

    command = [
        # Nothing on the terminal, and a line for each node in logs/dbt.log.
        *("--log-level", "none", "--log-level-file", "info", "--no-use-colors"),
        *arguments,
        *("--project-dir", str(settings.project_dir)),
        *("--profiles-dir", str(settings.profiles_dir)),
        *("--target", settings.target),
        *(("--vars", variables) if variables else ()),
    ]
    # dbt reads the project relative to the working folder and stays where it went.
    working_dir = os.getcwd()
    try:
        outcome = dbtRunner(callbacks=[watch]).invoke(command)
    finally:
        os.chdir(working_dir)
    if outcome.exception is not None:
        raise LeadlightError(f"dbt stopped: {outcome.exception}")
    # Commands other than those that run nodes answer with something else than a list of them.
    results = list(getattr(outcome.result, "results", ()))
    if not outcome.success:
        raise LeadlightError(_describe_failure(results))
    return len(results)


def _describe_failure(results: list[Any]) -> str:
    """Say in one line which node failed first, where it is, and what the database answered."""
    failed = [result for result in results if result.status in ("error", "fail", "runtime error")]
    skipped = sum(result.status == "skipped" for result in results)
    first = failed[0]
    more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
    after = f"; {skipped} that depend on it were skipped" if skipped else ""
    return (
        f"dbt could not build {first.node.name} ({first.node.original_file_path}): "
        f"{first.message}{more}{after}"
    )
