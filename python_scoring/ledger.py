"""scoring.experiments: what an experiment was when it began, which it is to stay while it runs."""

from __future__ import annotations

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

from python_scoring.errors import LeadlightError
from python_scoring.settings import Settings
from python_scoring.tasks import Experiment, read_experiments

Arms = dict[str, dict[str, float]]


def begin(connection: psycopg.Connection, experiment: Experiment) -> None:
    """Write down an experiment whose first entity was assigned; does nothing for a known one."""
    connection.execute(
        "insert into scoring.experiments (experiment, salt, arms) values (%s, %s, %s) "
        "on conflict do nothing",
        [experiment.experiment, experiment.salt, Jsonb(_arms(experiment))],
    )


def refuse_changes(connection: psycopg.Connection, settings: Settings) -> None:
    """Raise where the registry now draws other arms, or offers them something else, than at first.

    An experiment runs from its first assignment on until it ends by the registry. Whoever comes
    after a change would be drawn by another rule than whoever came before, and the two would be
    compared as if they were alike.

    Raises:
        LeadlightError: a running experiment was changed.
    """
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        begun = cursor.execute("select *, now() from scoring.experiments").fetchall()
    if not begun:
        return
    known = {entry.experiment: entry for entry in read_experiments(connection, settings)}
    for was in begun:
        experiment = known.get(was.experiment)
        if experiment is None or experiment.has_ended(was.now):
            continue
        changes = []
        if was.salt != experiment.salt:
            changes.append(f"its salt was {was.salt} and is {experiment.salt}")
        if was.arms != (arms := _arms(experiment)):
            changes.append(f"its arms were {_in_words(was.arms)} and are {_in_words(arms)}")
        if changes:
            raise LeadlightError(
                f"experiment {was.experiment} has been running since {was.begun_at:%Y-%m-%d}, but "
                f"{', and '.join(changes)}: put it back in dbt_project.yml (vars.experiments), or "
                "let what is new have a name of its own; then `leadlight run`"
            )


def _arms(experiment: Experiment) -> Arms:
    """Return share and offer of each arm; a share to nine digits, since it comes of a division."""
    return {
        arm.arm: {"share": round(arm.share, 9), "offer_amount": float(arm.offer_amount)}
        for arm in experiment.arms
    }


def _in_words(arms: Arms) -> str:
    """Return arms such as `control (share 0.2), coupon (share 0.8, offer 20)`."""
    words = []
    for arm, fields in sorted(arms.items()):
        offer = f", offer {fields['offer_amount']:g}" if fields["offer_amount"] else ""
        words.append(f"{arm} (share {fields['share']:.4g}{offer})")
    return ", ".join(words)
