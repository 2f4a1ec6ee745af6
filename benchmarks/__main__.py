"""Measure the project on throwaway Postgres servers, all in one run on one machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import events, experiments, metrics
from benchmarks.server import throwaway_server

PARTS = {"metrics": metrics, "experiments": experiments, "events": events}


def table(lines: Sequence[tuple[str, str]]) -> str:
    """Return the table of the README."""
    return "\n".join(["| measure | result |", "|---|---|", *(f"| {a} | {b} |" for a, b in lines)])


@click.command()
@click.option("--predictions", default=10_000_000, show_default=True, help="How many in all.")
@click.option("--assignments", default=10_000_000, show_default=True, help="How many in all.")
@click.option("--segments", default=8, show_default=True, help="How many values the slice has.")
@click.option("--events", "n_events", default=8_400_000, show_default=True, help="How many in all.")
@click.option("--users", default=300_000, show_default=True, help="Whose events they are.")
@click.option("--days", default=90, show_default=True, help="Over how many days.")
@click.option("--repeats", default=3, show_default=True, help="Of what the median is reported.")
@click.option("--part", "parts", type=click.Choice(list(PARTS)), multiple=True, default=list(PARTS))
@click.option("--output", type=click.Path(path_type=Path), default=Path("benchmarks/results.json"))
def main(
    predictions: int,
    assignments: int,
    segments: int,
    n_events: int,
    users: int,
    days: int,
    repeats: int,
    parts: Sequence[str],
    output: Path,
) -> None:
    """Generate, build, increment, ask; write what was measured, and print a table of it."""
    results = {"machine": {"cpus": os.cpu_count(), "platform": platform.platform()}}
    sizes = {
        "metrics": (predictions, days, segments, repeats),
        "experiments": (assignments, days, segments, repeats),
        "events": (n_events, users, days, repeats),
    }
    lines: list[tuple[str, str]] = []
    for part in parts:
        click.echo(f"measuring {part}", err=True)
        with throwaway_server() as server:
            results["postgres"] = server.connection.info.server_version
            results[part] = PARTS[part].measure(server, *sizes[part])
        lines += PARTS[part].lines(results[part])
        # After each part, so that nothing is lost if a later one fails.
        output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    click.echo(table(lines))


if __name__ == "__main__":
    main()
