"""The one error that a person sees: a single line and exit code 1."""

from __future__ import annotations

import click


class LeadlightError(click.ClickException):
    """What happened, where, and what to do, in one line; ends a command with exit code 1."""

    exit_code = 1

    def format_message(self) -> str:
        """Return the message folded to one line, because drivers like to break theirs."""
        return " ".join(self.message.split())


class NotEnoughData(LeadlightError):
    """There is too little to learn from yet; the loop goes on without the training."""
