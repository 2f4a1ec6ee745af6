"""A simulated lead business with a known truth, written through the contract tables.

Leads land, browse and perhaps order. An incumbent model has scored them, too high, and whoever it
scored below its threshold took part in a coupon experiment. What really moves a lead (intent, the
probability of an order with and without the coupon) is kept apart in `simulation.leads`, which no
model reads: it is there to hold every metric against.

Inside this file a moment is an integer, microseconds since 1970 in UTC; the frames carry
timestamps.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import yaml
from psycopg import sql
from pyarrow import csv

from python_scoring.errors import LeadlightError
from python_scoring.experiments import assign_arm
from python_scoring.warehouse import BATCH_ROWS

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EXPERIMENT = "lead_coupon"
INCUMBENT = "incumbent"
# The newest leads are left unscored, so that the scheduled job finds work.
INCUMBENT_STOPS_BEFORE_UNTIL = 2 * DAY
# Room around an order: the visit that ends in it begins after the scoring, and the order lies both
# within the horizon of the prediction and within that of the assignment some minutes later.
ORDER_MARGIN = 20 * MINUTE

CHANNELS = pd.DataFrame(
    [
        ("cpc", "google", 0.27, -0.05, 0.0),
        ("cpc", "bing", 0.07, 0.0, 0.1),
        ("organic", "google", 0.24, 0.2, 0.15),
        ("social", "instagram", 0.15, -0.5, -0.3),
        ("social", "linkedin", 0.08, -0.1, 0.0),
        ("email", "newsletter", 0.08, 0.35, 0.3),
        ("referral", "partner", 0.11, 0.45, 0.4),
    ],
    columns=["utm_medium", "utm_source", "share", "intent_effect", "order_effect"],
)
DEVICES = pd.DataFrame(
    [("desktop", 0.46, 0.15), ("mobile", 0.46, -0.15), ("tablet", 0.08, 0.0)],
    columns=["device", "share", "intent_effect"],
)
COUNTRIES = pd.DataFrame(
    [("DE", 0.52), ("AT", 0.14), ("CH", 0.12), ("NL", 0.12), ("FR", 0.10)],
    columns=["country", "share"],
)
WEEKDAY_WEIGHTS = np.array([1.15, 1.2, 1.15, 1.1, 1.0, 0.75, 0.65])  # Monday first
HOUR_WEIGHTS = 1.0 + 0.8 * np.sin((np.arange(24) - 8) / 24 * 2 * np.pi)  # fullest at 14:00 UTC

PAGES = [f"/{page}" for page in ("", "about", "blog", "blog/guide", "contact", "faq", "reviews")]
PRODUCTS = {
    "desks": ["desk-basic", "desk-corner", "desk-standing"],
    "chairs": ["chair-basic", "chair-mesh", "chair-executive"],
    "lighting": ["lamp-clip", "lamp-desk", "lamp-floor"],
}
PLANS = ["once", "monthly", "yearly"]
VIEW_PROPERTIES: dict[str, list[str]] = {
    "page_viewed": [json.dumps({"path": path}) for path in PAGES],
    "product_viewed": [
        json.dumps({"path": f"/products/{product}", "product": product, "category": category})
        for category, products in PRODUCTS.items()
        for product in products
    ],
    "pricing_viewed": [json.dumps({"path": "/pricing", "plan": plan}) for plan in PLANS],
    # No event type of the project: what reaches a warehouse is not always known to it.
    "widget_toggled": [json.dumps({"widget": widget}) for widget in ("chat", "filter")],
}


@dataclass(frozen=True)
class ExperimentPlan:
    """The coupon experiment that runs on the incumbent's scores.

    `holdout_share` is the share of the eligible that gets no coupon, `offer_amount` the value of a
    coupon in money, from 5 to 50.
    """

    task: str
    experiment: str
    salt: str
    holdout_share: float
    offer_amount: float
    control_arm: str
    treatment_arm: str


def plan_from_project(project_dir: Path) -> dict[str, Any]:
    """Return the keyword arguments of `simulate_business` that the registry settles.

    Raises:
        LeadlightError: dbt_project.yml has no experiment `lead_coupon`, or its task is missing.
    """
    project = yaml.safe_load((project_dir / "dbt_project.yml").read_text(encoding="utf-8"))
    variables = project["vars"]
    try:
        experiment = variables["experiments"][EXPERIMENT]
        task = variables["prediction_tasks"][experiment["task"]]
    except (KeyError, TypeError) as error:
        raise LeadlightError(
            f"cannot simulate: dbt_project.yml needs the experiment {EXPERIMENT} and its task "
            f"under vars, and has no {error}"
        ) from error
    return {
        "scoring_delay": timedelta(hours=variables["lead_scoring_delay_hours"]),
        "horizon": timedelta(days=task["horizon_days"]),
        "threshold": task["default_threshold"],
        "experiment": ExperimentPlan(
            task=experiment["task"],
            experiment=EXPERIMENT,
            salt=experiment["salt"],
            holdout_share=experiment["holdout_share"],
            offer_amount=experiment["offer_amount"],
            control_arm=experiment["control_arm"],
            treatment_arm=experiment["treatment_arm"],
        ),
    }


@dataclass(frozen=True)
class Simulation:
    """What a simulated business delivered until one moment, and the truth behind it.

    `events` has one row per delivery, in order of arrival, with the columns of `tracking.events`
    but its identity; `predictions` and `assignments` have the columns of their tables in
    `scoring`. `truth` has one row per lead: `did_order` says whether the lead orders within the
    horizon of its scoring, even where that still lies ahead, and was drawn from
    `probability_with_coupon` in the treatment arm and from `probability_without_coupon` otherwise.
    Probabilities are in [0, 1], amounts in money with cents, times in UTC to the microsecond.
    """

    events: pd.DataFrame
    predictions: pd.DataFrame
    assignments: pd.DataFrame
    truth: pd.DataFrame


def simulate_business(
    n_leads: int,
    n_days: int,
    seed: int,
    until: datetime,
    *,
    scoring_delay: timedelta,
    horizon: timedelta,
    threshold: float,
    experiment: ExperimentPlan,
) -> Simulation:
    """Simulate `n_leads` leads that land in the `n_days` before `until`.

    Each lead is scored `scoring_delay` after landing, and the order that its probability speaks of
    lies within `horizon` of that moment. Leads scored below `threshold` take part in `experiment`.
    The same arguments give the same frames, and nothing in them arrived after `until`.

    Raises:
        LeadlightError: an argument is out of range.
    """
    _check_arguments(n_leads, n_days, seed, until, scoring_delay, horizon, threshold, experiment)
    until_us = _microseconds(until - datetime(1970, 1, 1, tzinfo=UTC))
    horizon_us = _microseconds(horizon)
    # One stream of random numbers for each part, so that another threshold or coupon leaves the
    # leads and their visits as they were.
    lead_rng, score_rng, order_rng, visit_rng, other_rng, delivery_rng = np.random.default_rng(
        seed
    ).spawn(6)

    leads = _draw_leads(lead_rng, n_leads, n_days, seed, until_us, _microseconds(scoring_delay))
    leads = _score_and_assign(score_rng, leads, until_us, threshold, experiment)
    leads, orders = _draw_orders(order_rng, leads, horizon_us)
    visits = _draw_visits(visit_rng, leads, orders)
    events = pd.concat(
        [
            _lead_created_events(leads),
            _draw_view_events(visit_rng, leads, visits, until_us),
            _order_events(orders),
            _draw_coupon_events(other_rng, leads, orders, experiment),
            _draw_newsletter_events(other_rng, leads),
        ],
        ignore_index=True,
    )
    return Simulation(
        events=_deliver(delivery_rng, events, leads["user_id"], seed, until_us),
        predictions=_predictions_frame(leads, threshold, experiment),
        assignments=_assignments_frame(leads, experiment),
        truth=_truth_frame(leads),
    )


def write_simulation(
    connection: psycopg.Connection,
    simulation: Simulation,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write a simulation inside the caller's transaction and return the number of rows written.

    Deliveries are written in order of arrival; the truth goes to `simulation.leads`, which is
    created where it is missing. `progress`, if given, is told the number of rows just written,
    again and again.

    Raises:
        LeadlightError: this seed was already simulated into this database.
    """
    # The ledger row comes first: its unique source makes a second writer of this seed wait here.
    claimed = connection.execute(
        "insert into tracking.loads (source, target, n_rows, n_rejected)"
        " values (%s, 'tracking.events', %s, 0) on conflict (source) do nothing returning load_id",
        (f"simulation:{seed}", len(simulation.events)),
    ).fetchone()
    if claimed is None:
        raise LeadlightError(
            f"seed {seed} was already simulated into this database: choose another seed"
        )
    connection.execute("create schema if not exists simulation")
    connection.execute(
        """
        create table if not exists simulation.leads (
            user_id text primary key,
            landed_at timestamptz not null,
            as_of_at timestamptz not null,
            intent double precision not null,
            probability_without_coupon double precision not null,
            probability_with_coupon double precision not null,
            arm text,
            did_order boolean not null
        )
        """
    )
    n_written = 0
    for table, frame in (
        (sql.Identifier("tracking", "events"), simulation.events),
        (sql.Identifier("scoring", "predictions"), simulation.predictions),
        (sql.Identifier("scoring", "assignments"), simulation.assignments),
        (sql.Identifier("simulation", "leads"), simulation.truth),
    ):
        n_written += _copy(connection, table, frame, progress)
    return n_written


def _check_arguments(
    n_leads: int,
    n_days: int,
    seed: int,
    until: datetime,
    scoring_delay: timedelta,
    horizon: timedelta,
    threshold: float,
    experiment: ExperimentPlan,
) -> None:
    """Raise LeadlightError for the first argument that makes no business."""
    shortest_horizon = timedelta(microseconds=3 * ORDER_MARGIN)
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
            0 <= experiment.holdout_share <= 1,
            f"the holdout share must lie in [0, 1], not at {experiment.holdout_share}",
        ),
        (
            5 <= experiment.offer_amount <= 50,
            f"the offer amount must lie between 5 and 50, not at {experiment.offer_amount}",
        ),
    ):
        if not is_fine:
            raise LeadlightError(f"cannot simulate: {message}")


def _draw_leads(
    rng: np.random.Generator,
    n_leads: int,
    n_days: int,
    seed: int,
    until: int,
    scoring_delay: int,
) -> pd.DataFrame:
    """Return one row per lead, in order of landing: who it is, when it is scored, what it wants."""
    channel = CHANNELS.iloc[rng.choice(len(CHANNELS), n_leads, p=CHANNELS["share"])]
    device = DEVICES.iloc[rng.choice(len(DEVICES), n_leads, p=DEVICES["share"])]
    country = COUNTRIES.iloc[rng.choice(len(COUNTRIES), n_leads, p=COUNTRIES["share"])]
    company_size = np.ceil(np.clip(rng.lognormal(3.0, 1.2, n_leads), 1, 5000)).astype(int)
    intent = (
        rng.normal(0.0, 1.0, n_leads)
        + channel["intent_effect"].to_numpy()
        + device["intent_effect"].to_numpy()
    )
    is_mobile_social = (channel["utm_medium"].to_numpy() == "social") & (
        device["device"].to_numpy() == "mobile"
    )
    landed_at = _draw_landings(rng, n_leads, n_days, until)
    as_of_at = landed_at + scoring_delay
    leads = pd.DataFrame(
        {
            "user_id": [f"lead-{seed}-{number:06d}" for number in range(1, n_leads + 1)],
            "landed_at": landed_at,
            "as_of_at": as_of_at,
            "predicted_at": as_of_at + rng.integers(MINUTE, 10 * MINUTE, n_leads),
            "utm_medium": channel["utm_medium"].to_numpy(),
            "utm_source": channel["utm_source"].to_numpy(),
            "device": device["device"].to_numpy(),
            "country": country["country"].to_numpy(),
            "company_size": company_size,
            "newsletter": rng.random(n_leads) < 0.35,
            "intent": intent,
            "logit_without_coupon": (
                -1.6
                + 1.3 * intent
                + channel["order_effect"].to_numpy()
                + 0.2 * (np.log(company_size) - 3.0)
                - 0.4 * is_mobile_social
            ),
        }
    )
    return leads.assign(
        probability_without_coupon=_sigmoid(leads["logit_without_coupon"].to_numpy())
    )


def _draw_landings(rng: np.random.Generator, n_leads: int, n_days: int, until: int) -> np.ndarray:
    """Return sorted landing times in the `n_days` before `until`, by weekday and hour of day."""
    slots = until - n_days * DAY + np.arange(24 * n_days) * HOUR
    # 1970-01-01 was a Thursday, the fourth day of a week that begins on Monday.
    weights = WEEKDAY_WEIGHTS[(slots // DAY + 3) % 7] * HOUR_WEIGHTS[slots // HOUR % 24]
    slot = rng.choice(slots, n_leads, p=weights / weights.sum())
    return np.sort(slot + rng.integers(0, HOUR, n_leads))


def _score_and_assign(
    rng: np.random.Generator,
    leads: pd.DataFrame,
    until: int,
    threshold: float,
    experiment: ExperimentPlan,
) -> pd.DataFrame:
    """Add the incumbent's score, the arm (None outside the experiment) and the coupon's effect."""
    # The incumbent ranks usefully but is overconfident about everybody: a flat slope, set too high.
    noisy_logit = leads["logit_without_coupon"] + rng.normal(0.0, 1.1, len(leads))
    score = _sigmoid(0.55 * noisy_logit.to_numpy() + 0.45)
    is_scored = leads["predicted_at"].to_numpy() <= until - INCUMBENT_STOPS_BEFORE_UNTIL
    is_eligible = is_scored & (score < threshold)

    arm = np.full(len(leads), None, dtype=object)
    arm[is_eligible] = assign_arm(
        experiment.salt,
        leads["user_id"][is_eligible].tolist(),
        experiment.holdout_share,
        experiment.control_arm,
        experiment.treatment_arm,
    )
    # Small companies care more for a coupon, and a larger coupon helps ever less.
    price_sensitivity = np.where(leads["company_size"] < 20, 0.85, 0.57)
    coupon_effect = price_sensitivity * (experiment.offer_amount / 15) ** 0.25
    return leads.assign(
        score=score,
        is_scored=is_scored,
        arm=pd.array(arm, dtype="str"),
        has_coupon=arm == experiment.treatment_arm,
        probability_with_coupon=_sigmoid(leads["logit_without_coupon"].to_numpy() + coupon_effect),
    )


def _draw_orders(
    rng: np.random.Generator, leads: pd.DataFrame, horizon: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add `did_order` to the leads and return all orders: lead, time, amount, whether the first.

    The order that the probabilities speak of lies in (predicted_at, as_of_at + horizon]. Other
    orders never turn a lead that has none there into one that has: they come before the scoring,
    after the horizon, or after that very order.
    """
    n_leads = len(leads)
    landed_at, as_of_at, predicted_at = (
        leads[column].to_numpy() for column in ("landed_at", "as_of_at", "predicted_at")
    )
    probability = np.where(
        leads["has_coupon"],
        leads["probability_with_coupon"],
        leads["probability_without_coupon"],
    )
    did_order = rng.random(n_leads) < probability
    share_of_horizon = rng.beta(1.0, 1.8, n_leads)
    first_at = predicted_at + ORDER_MARGIN + _whole(share_of_horizon * (horizon - 2 * ORDER_MARGIN))
    customers = np.flatnonzero(did_order)

    hasty = np.flatnonzero(rng.random(n_leads) < 0.005)
    hasty_at = as_of_at[hasty] - _whole(
        rng.uniform(0.0, 0.5, len(hasty)) * (as_of_at - landed_at)[hasty]
    )
    slow = np.flatnonzero(rng.random(n_leads) < 0.03)
    slow_at = predicted_at[slow] + horizon + HOUR + _whole(rng.exponential(15 * DAY, len(slow)))
    returning = np.repeat(customers, rng.poisson(0.5, len(customers)))
    returning_at = first_at[returning] + HOUR + _whole(rng.exponential(25 * DAY, len(returning)))

    lead = np.concatenate([customers, hasty, slow, returning])
    amount = np.exp(
        3.95
        + 0.2 * (np.log(leads["company_size"].to_numpy()[lead]) - 3.0)
        + 0.1 * leads["intent"].to_numpy()[lead]
        + rng.normal(0.0, 0.5, len(lead))
    )
    orders = pd.DataFrame(
        {
            "lead": lead,
            "occurred_at": np.concatenate([first_at[customers], hasty_at, slow_at, returning_at]),
            "amount": np.round(np.clip(amount, 10.0, 250.0), 2),
            "is_first": np.arange(len(lead)) < len(customers),
        }
    )
    return leads.assign(did_order=did_order), orders


def _draw_visits(
    rng: np.random.Generator, leads: pd.DataFrame, orders: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per visit: lead and start.

    Every lead visits on landing. How often it comes back within a day tells its intent; later
    visits tell less, and those that end in an order tell what is already known.
    """
    n_leads = len(leads)
    landed_at, intent = leads["landed_at"].to_numpy(), leads["intent"].to_numpy()
    soon = np.repeat(np.arange(n_leads), rng.poisson(np.exp(-0.2 + 0.75 * intent)))
    later = np.repeat(np.arange(n_leads), rng.poisson(np.exp(-0.1 + 0.1 * intent)))
    started_at = [
        landed_at + rng.integers(3 * SECOND, MINUTE, n_leads),
        landed_at[soon] + _whole(rng.beta(1.0, 1.5, len(soon)) * DAY),
        landed_at[later] + DAY + _whole(rng.exponential(12 * DAY, len(later))),
        orders["occurred_at"].to_numpy() - rng.integers(2 * MINUTE, 15 * MINUTE, len(orders)),
    ]
    return pd.DataFrame(
        {
            "lead": np.concatenate([np.arange(n_leads), soon, later, orders["lead"].to_numpy()]),
            "started_at": np.concatenate(started_at),
        }
    )


def _draw_view_events(
    rng: np.random.Generator, leads: pd.DataFrame, visits: pd.DataFrame, until: int
) -> pd.DataFrame:
    """Return the events within the visits, seconds or minutes apart."""
    visits = visits[visits["started_at"] <= until]
    n_views = 1 + rng.poisson(np.exp(0.6 + 0.45 * leads["intent"].to_numpy()[visits["lead"]]))
    lead = np.repeat(visits["lead"].to_numpy(), n_views)
    intent = leads["intent"].to_numpy()[lead]

    gap = _whole(np.minimum(rng.lognormal(3.7, 1.0, len(lead)) * SECOND, 20 * MINUTE))
    first_view = np.cumsum(n_views) - n_views
    gap[first_view] = 0
    elapsed = np.cumsum(gap)
    elapsed -= np.repeat(elapsed[first_view], n_views)

    # A ladder of chances: pricing, else product, else a page; a few are of no known type.
    event_type = np.full(len(lead), "page_viewed", dtype=object)
    event_type[rng.random(len(lead)) < _sigmoid(-0.5 + 0.3 * intent)] = "product_viewed"
    event_type[rng.random(len(lead)) < _sigmoid(-2.2 + 1.0 * intent)] = "pricing_viewed"
    event_type[rng.random(len(lead)) < 0.0012] = "widget_toggled"
    properties = np.empty(len(lead), dtype=object)
    for name, choices in VIEW_PROPERTIES.items():
        is_type = event_type == name
        properties[is_type] = rng.choice(np.array(choices, dtype=object), is_type.sum())
    return _events_frame(
        lead, event_type, np.repeat(visits["started_at"].to_numpy(), n_views) + elapsed, properties
    )


def _lead_created_events(leads: pd.DataFrame) -> pd.DataFrame:
    columns = ["utm_medium", "utm_source", "device", "country", "company_size", "newsletter"]
    properties = [
        json.dumps({"email": f"{user_id}@example.com"} | dict(zip(columns, values, strict=True)))
        for user_id, *values in zip(
            leads["user_id"], *(leads[column].tolist() for column in columns), strict=True
        )
    ]
    return _events_frame(
        np.arange(len(leads)), "lead_created", leads["landed_at"].to_numpy(), properties
    )


def _order_events(orders: pd.DataFrame) -> pd.DataFrame:
    return _events_frame(
        orders["lead"].to_numpy(),
        "order_completed",
        orders["occurred_at"].to_numpy(),
        json.dumps({"currency": "EUR"}),
        orders["amount"].to_numpy(),
    )


def _draw_coupon_events(
    rng: np.random.Generator,
    leads: pd.DataFrame,
    orders: pd.DataFrame,
    experiment: ExperimentPlan,
) -> pd.DataFrame:
    """Return an offer for each lead of the treatment arm and a redemption for most that order."""
    has_coupon = leads["has_coupon"].to_numpy()
    offered = np.flatnonzero(has_coupon)
    is_redeemed = (
        orders["is_first"].to_numpy()
        & has_coupon[orders["lead"]]
        & (rng.random(len(orders)) < 0.85)
    )
    redeemed = orders[is_redeemed]
    properties = json.dumps({"experiment": experiment.experiment})
    return pd.concat(
        [
            _events_frame(
                offered,
                "coupon_offered",
                leads["predicted_at"].to_numpy()[offered],
                properties,
                experiment.offer_amount,
            ),
            _events_frame(
                redeemed["lead"].to_numpy(),
                "coupon_redeemed",
                redeemed["occurred_at"].to_numpy(),
                properties,
                experiment.offer_amount,
            ),
        ]
    )


def _draw_newsletter_events(rng: np.random.Generator, leads: pd.DataFrame) -> pd.DataFrame:
    subscribers = np.flatnonzero(leads["newsletter"])
    lead = np.repeat(subscribers, rng.poisson(2.0, len(subscribers)))
    occurred_at = leads["landed_at"].to_numpy()[lead] + rng.integers(DAY, 60 * DAY, len(lead))
    issue = rng.integers(1, 9, len(lead))
    properties = np.array([json.dumps({"issue": number}) for number in range(9)], dtype=object)
    return _events_frame(lead, "newsletter_opened", occurred_at, properties[issue])


def _events_frame(
    lead: np.ndarray,
    event_type: str | np.ndarray,
    occurred_at: np.ndarray,
    properties: str | list[str] | np.ndarray,
    amount: float | np.ndarray = np.nan,
) -> pd.DataFrame:
    """Return events before their delivery; `lead` is the position of the lead."""
    frame = pd.DataFrame({"lead": lead, "occurred_at": occurred_at})
    return frame.assign(event_type=event_type, amount=amount, properties=properties).astype(
        {"event_type": "str", "amount": "float64", "properties": "str"}
    )


def _deliver(
    rng: np.random.Generator,
    events: pd.DataFrame,
    user_ids: pd.Series,
    seed: int,
    until: int,
) -> pd.DataFrame:
    """Return the deliveries that arrived by `until`, in order of arrival.

    Most events arrive within a minute, 2 % late by an hour to three days, 1 % a second time, and
    another 0.5 % of rows are broken. What is broken has an event id of its own or none, so that
    no real event is lost with it.
    """
    events = _in_order(events, "occurred_at", until)
    n_events = len(events)
    delay = rng.integers(SECOND, MINUTE, n_events)
    is_late = rng.random(n_events) < 0.02
    delay[is_late] = _draw_log_uniform(rng, HOUR, 3 * DAY, is_late.sum())
    first = pd.DataFrame(
        {
            "event_id": [f"event-{seed}-{number:08d}" for number in range(n_events)],
            "event_type": events["event_type"],
            "user_id": user_ids.take(events["lead"]).array,
            # Visits are for the warehouse to find, by 30 minutes of silence.
            "session_id": pd.Series(index=events.index, dtype="str"),
            "occurred_at": _timestamps(events["occurred_at"]),
            "amount": events["amount"],
            "properties": events["properties"],
            "loaded_at": _timestamps(events["occurred_at"] + delay),
        }
    )
    deliveries = pd.concat(
        [first, _draw_repeats(rng, first), _draw_broken(rng, first, seed)], ignore_index=True
    )
    return _in_order(deliveries, "loaded_at", _timestamps([until])[0])


def _in_order(frame: pd.DataFrame, column: str, until: int | pd.Timestamp) -> pd.DataFrame:
    """Return the rows whose time in `column` is at most `until`, in order of that time."""
    times = frame[column].sort_values(kind="stable")
    return frame.take(times.index[times <= until]).reset_index(drop=True)


def _draw_repeats(rng: np.random.Generator, first: pd.DataFrame) -> pd.DataFrame:
    """Return second deliveries, a minute to three days later; some carry one more property."""
    repeats = first[rng.random(len(first)) < 0.01].copy()
    wait = _draw_log_uniform(rng, MINUTE, 3 * DAY, len(repeats))
    repeats["loaded_at"] += pd.to_timedelta(wait, unit="us")
    is_changed = rng.random(len(repeats)) < 0.2
    repeats.loc[is_changed, "properties"] = [
        json.dumps(json.loads(properties) | {"redelivered": True})
        for properties in repeats["properties"][is_changed]
    ]
    return repeats


def _draw_broken(rng: np.random.Generator, first: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows that no warehouse should count, each broken in one of six ways."""
    n_broken = round(0.005 * len(first))
    broken = first.iloc[rng.integers(0, len(first), n_broken)].reset_index(drop=True)
    broken["event_id"] = [
        f"event-{seed}-{number:08d}" for number in range(len(first), len(first) + n_broken)
    ]
    way = rng.integers(0, 6, n_broken)
    for number, column in enumerate(("event_id", "event_type", "user_id", "occurred_at")):
        broken.loc[way == number, column] = None
    days_ahead = pd.to_timedelta(rng.integers(2, 400, n_broken), unit="D")
    is_future, is_negative = way == 4, way == 5
    broken.loc[is_future, "occurred_at"] = (broken["loaded_at"] + days_ahead)[is_future]
    broken.loc[is_negative, "event_type"] = "order_completed"
    broken.loc[is_negative, "amount"] = -np.round(rng.uniform(10, 250, is_negative.sum()), 2)
    return broken


def _predictions_frame(
    leads: pd.DataFrame, threshold: float, experiment: ExperimentPlan
) -> pd.DataFrame:
    scored = leads[leads["is_scored"]]
    slices = ["utm_medium", "device", "country"]
    predicted_at = _timestamps(scored["predicted_at"])
    return pd.DataFrame(
        {
            "prediction_id": _prediction_ids(scored, experiment),
            "task": experiment.task,
            "model_version": INCUMBENT,
            "run_kind": "live",
            "entity_id": scored["user_id"].array,
            "as_of_at": _timestamps(scored["as_of_at"]),
            "predicted_at": predicted_at,
            "score": scored["score"].to_numpy(),
            "predicted_value": np.full(len(scored), np.nan),
            "segment": pd.array([None] * len(scored), dtype="Int32"),
            "threshold": np.full(len(scored), float(threshold)),
            "attributes": pd.array(
                [
                    json.dumps(dict(zip(slices, values, strict=True)))
                    for values in zip(*(scored[column] for column in slices), strict=True)
                ],
                dtype="str",
            ),
            "loaded_at": predicted_at,
        }
    )


def _assignments_frame(leads: pd.DataFrame, experiment: ExperimentPlan) -> pd.DataFrame:
    assigned = leads[leads["arm"].notna()]
    assigned_at = _timestamps(assigned["predicted_at"])
    return pd.DataFrame(
        {
            "experiment": experiment.experiment,
            "entity_id": assigned["user_id"].array,
            "assigned_at": assigned_at,
            "arm": assigned["arm"].array,
            "offer_amount": np.where(assigned["has_coupon"], experiment.offer_amount, 0.0),
            "prediction_id": _prediction_ids(assigned, experiment),
            "loaded_at": assigned_at,
        }
    )


def _prediction_ids(
    leads: pd.DataFrame, experiment: ExperimentPlan
) -> pd.api.extensions.ExtensionArray:
    """Return the same id for the same lead and task, wherever it is asked for."""
    ids = [
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{experiment.task}:{INCUMBENT}:live:{user_id}"))
        for user_id in leads["user_id"]
    ]
    return pd.array(ids, dtype="str")


def _truth_frame(leads: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": leads["user_id"],
            "landed_at": _timestamps(leads["landed_at"]),
            "as_of_at": _timestamps(leads["as_of_at"]),
            "intent": leads["intent"],
            "probability_without_coupon": leads["probability_without_coupon"],
            "probability_with_coupon": leads["probability_with_coupon"],
            "arm": leads["arm"],
            "did_order": leads["did_order"],
        }
    )


def _copy(
    connection: psycopg.Connection,
    table: sql.Identifier,
    frame: pd.DataFrame,
    progress: Callable[[int], None] | None,
) -> int:
    """COPY a frame into a table in the frame's order and return its number of rows."""
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    # Text is quoted and a null is not, which is how COPY tells an empty text from a null.
    without_header = csv.WriteOptions(include_header=False, quoting_style="needed")
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            text = pa.BufferOutputStream()
            csv.write_csv(batch, text, without_header)
            copy.write(text.getvalue().to_pybytes())
            if progress is not None:
                progress(batch.num_rows)
    return len(frame)


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _whole(microseconds: np.ndarray) -> np.ndarray:
    return microseconds.astype(np.int64)


def _timestamps(microseconds: pd.Series | list[int]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.asarray(microseconds).astype("datetime64[us]"), tz="UTC")


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logit))


def _draw_log_uniform(rng: np.random.Generator, low: int, high: int, size: int) -> np.ndarray:
    return _whole(np.exp(rng.uniform(np.log(low), np.log(high), size)))
