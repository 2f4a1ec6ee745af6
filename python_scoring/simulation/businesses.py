"""All businesses at once: sizes, random numbers, and one stream of deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from python_scoring.errors import LeadlightError
from python_scoring.simulation.customers import simulate_customers
from python_scoring.simulation.delivery import deliver
from python_scoring.simulation.draws import moment
from python_scoring.simulation.leads import ORDER_MARGIN, simulate_leads
from python_scoring.simulation.plan import ExperimentPlan
from python_scoring.simulation.players import simulate_players
from python_scoring.simulation.shop import simulate_shop
from python_scoring.simulation.subscribers import simulate_subscribers

# How many there are of each for one lead.
VISITORS_PER_LEAD = 0.375
PLAYERS_PER_LEAD = 0.2
SUBSCRIBERS_PER_LEAD = 0.075
CUSTOMERS_PER_LEAD = 0.2


@dataclass(frozen=True)
class Simulation:
    """What the simulated businesses delivered until one moment, and the truth behind it.

    `events` has one row per delivery, in order of arrival, with the columns of `tracking.events`
    but its identity; `predictions` and `assignments`, of the lead business, have the columns of
    their tables in `scoring`. `truth` has a frame for each table of the schema `simulation`: leads,
    sessions, players, subscribers, customers. Probabilities are in [0, 1], amounts in money with
    cents, times in UTC to the microsecond.
    """

    events: pd.DataFrame
    predictions: pd.DataFrame
    assignments: pd.DataFrame
    truth: dict[str, pd.DataFrame]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every frame by the table, `schema.name`, that it is written to."""
        return {
            "tracking.events": self.events,
            "scoring.predictions": self.predictions,
            "scoring.assignments": self.assignments,
        } | {f"simulation.{name}": frame for name, frame in self.truth.items()}


def simulate(
    n_leads: int,
    n_days: int,
    seed: int,
    until: datetime,
    *,
    scoring_delay: timedelta,
    horizon: timedelta,
    threshold: float,
    experiment: ExperimentPlan,
    postcodes: pd.DataFrame,
) -> Simulation:
    """Simulate `n_leads` leads in the `n_days` before `until`, and other businesses in proportion.

    Each lead is scored `scoring_delay` after landing, and the order that its probability speaks of
    lies within `horizon` of that moment. Leads scored below `threshold` take part in `experiment`.
    Players live in `postcodes`: country, postcode and socioeconomic_index. The same arguments give
    the same frames, and nothing in them arrived after `until`.

    Raises:
        LeadlightError: an argument is out of range.
    """
    _check_arguments(
        n_leads, n_days, seed, until, scoring_delay, horizon, threshold, experiment, postcodes
    )
    until_us = moment(until)
    # Each business draws from streams of its own, so that none moves another. Streams are numbered
    # as they are spawned: the leads take the first ones, and whoever comes anew the last.
    rng = np.random.default_rng(seed)
    leads = simulate_leads(
        rng,
        n_leads,
        n_days,
        seed,
        until_us,
        scoring_delay=scoring_delay,
        horizon=horizon,
        threshold=threshold,
        experiment=experiment,
    )
    delivery_rng, shop_rng, player_rng, subscriber_rng, customer_rng = rng.spawn(5)
    window = (n_days, seed, until_us)
    visits, sessions = simulate_shop(shop_rng, _size(n_leads, VISITORS_PER_LEAD), *window)
    play, players = simulate_players(
        player_rng, _size(n_leads, PLAYERS_PER_LEAD), *window, postcodes
    )
    usage, subscribers = simulate_subscribers(
        subscriber_rng, _size(n_leads, SUBSCRIBERS_PER_LEAD), *window
    )
    purchases, customers = simulate_customers(
        customer_rng, _size(n_leads, CUSTOMERS_PER_LEAD), *window
    )
    events = pd.concat([leads.events, visits, play, usage, purchases], ignore_index=True)
    return Simulation(
        events=deliver(delivery_rng, events, seed, until_us),
        predictions=leads.predictions,
        assignments=leads.assignments,
        truth={
            "leads": leads.truth,
            "sessions": sessions,
            "players": players,
            "subscribers": subscribers,
            "customers": customers,
        },
    )


def _size(n_leads: int, per_lead: float) -> int:
    return max(1, round(n_leads * per_lead))


def _check_arguments(
    n_leads: int,
    n_days: int,
    seed: int,
    until: datetime,
    scoring_delay: timedelta,
    horizon: timedelta,
    threshold: float,
    experiment: ExperimentPlan,
    postcodes: pd.DataFrame,
) -> None:
    """Raise LeadlightError for the first argument that cannot be simulated."""
    shortest_horizon = timedelta(microseconds=3 * ORDER_MARGIN)
    shares = ", ".join(f"{arm.share:g}" for arm in experiment.arms)
    offers = [arm.offer_amount for arm in experiment.arms if arm.offer_amount != 0]
    for is_fine, message in (
        (n_leads >= 1, f"the number of leads must be at least 1, not {n_leads}"),
        (n_days >= 1, f"the number of days must be at least 1, not {n_days}"),
        (seed >= 0, f"the seed must be 0 or more, not {seed}"),
        (until.tzinfo is not None, f"the end {until} needs a time zone"),
        (scoring_delay > timedelta(0), f"the scoring delay must be positive, not {scoring_delay}"),
        (
            horizon >= shortest_horizon,
            f"the horizon must be at least {shortest_horizon}, not {horizon}",
        ),
        (0 <= threshold <= 1, f"the threshold must lie in [0, 1], not at {threshold}"),
        (
            all(0 <= arm.share <= 1 for arm in experiment.arms),
            f"the shares of the arms must lie in [0, 1], not at {shares}",
        ),
        (len(offers) > 0, "no arm of the experiment is offered anything"),
        (
            all(5 <= offer <= 50 for offer in offers),
            f"what an arm offers must be worth 5 to 50, not {', '.join(map(str, offers))}",
        ),
        (len(postcodes) > 0, "there are no postcodes for players to live in"),
    ):
        if not is_fine:
            raise LeadlightError(f"cannot simulate: {message}")
