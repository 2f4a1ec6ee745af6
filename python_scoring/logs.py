"""What a command tells while it works: sentences for people, or one JSON object a line."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console

# Results go here, and in text what is told on the way.
console = Console(highlight=False)

_is_json = False


def use_format(log_format: str) -> None:
    """Tell in `text`, on stdout, or in `json`, on stderr, which leaves stdout to results."""
    global _is_json
    _is_json = log_format == "json"


def say(event: str, message: str, level: str = "info", **fields: Any) -> None:
    """Tell what happened: a sentence for people, and its parts for machines.

    Args:
        event: Name of what happened, the same every time it does, such as `task_scored`.
        message: The sentence; in text nothing else is told.
        level: `info`, `warning` or `error`.
        fields: The parts of the sentence; what JSON does not know is written as text.
    """
    if not _is_json:
        console.print(message, markup=False, soft_wrap=True)
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"at": now, "level": level, "event": event, "message": message, **fields}
    click.echo(json.dumps(line, default=str), err=True)


class LoggedGroup(click.Group):
    """A group of commands whose failures are told as their progress is."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; with JSON logs its failure is one object on one line, too."""
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            if not _is_json:
                raise
            say("failed", error.format_message(), level="error", exit_code=error.exit_code)
            context.exit(error.exit_code)
        except Exception as error:
            if not _is_json:
                raise
            message = " ".join(str(error).split()) or type(error).__name__
            trace = traceback.format_exc()
            say("failed", message, level="error", exit_code=1, traceback=trace)
            context.exit(1)
