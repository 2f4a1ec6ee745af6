"""The subscribers: they pay by the month, sign in less and less, and cancel; a few come back.

A subscriber is active, fading or dormant. The state moves from week to week, on Monday 00:00 UTC;
it rules how often one signs in during a week, and with the plan, the time since the start and how
cramped the plan is, whether one cancels in the week after. So falling sign-ins come before the end.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from python_scoring.simulation.draws import (
    DAY,
    MINUTE,
    SECOND,
    WEEK,
    draw_by_share,
    draw_moments,
    entity_ids,
    events_frame,
    position_in_run,
    sigmoid,
    timestamps,
    whole,
)

HORIZON_WEEKS = 4
BILLING_PERIOD = 30 * DAY
# Subscriptions may be this much older than the simulated days, the events of the app a little.
OLDER_SUBSCRIPTION_DAYS = 180
OLDER_APP_EVENTS = 28 * DAY
FIRST_MONDAY = 4 * DAY  # of 1970
NEVER = np.iinfo(np.int64).max

PLANS = pd.DataFrame(
    [("starter", 0.55, 29.0, 0.3), ("team", 0.33, 79.0, -0.1), ("business", 0.12, 199.0, -0.7)],
    columns=["plan", "share", "monthly_price", "cancel_effect"],
)
STATES = np.array(["active", "fading", "dormant"])
ACTIVE = 0
# From row to column, week by week.
TRANSITIONS = np.array([[0.94, 0.06, 0.0], [0.12, 0.68, 0.20], [0.0, 0.06, 0.94]])
SIGN_IN_FACTOR = np.array([1.0, 0.35, 0.07])
STATE_EFFECT = np.array([-1.6, 1.3, 1.9])
# How often a sign-in leads to each of these: usually, and where the plan is too small.
APP_EVENTS = {
    "editor_opened": (0.7, 0.8),
    "report_exported": (0.15, 0.15),
    "limit_reached": (0.01, 0.18),
    "pricing_viewed": (0.02, 0.07),
}


def simulate_subscribers(
    rng: np.random.Generator, n_subscribers: int, n_days: int, seed: int, until: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate subscribers whose app is tracked in the `n_days` before `until`, and 28 days more.

    Return events and truth. The truth has one row per subscriber and Monday of the `n_days`,
    `as_of_at`, at which a subscription runs: `did_cancel` says whether it is cancelled in the 28
    days after, even where that still lies ahead, and was drawn from `probability`, which knows the
    state that the subscriber was in until then.
    """
    subscribers = _draw_subscribers(rng, n_subscribers, n_days, seed, until)
    first, mondays = _draw_lives(rng, subscribers, until)
    second, later_mondays = _draw_lives(rng, _draw_returns(rng, first), until)
    subscriptions = pd.concat([first, second], ignore_index=True)
    later_mondays["subscription"] += len(first)
    mondays = pd.concat([mondays, later_mondays], ignore_index=True)
    events = pd.concat(
        [
            _subscription_events(subscriptions),
            _invoice_events(subscriptions, until),
            _draw_app_events(
                rng, subscriptions, mondays, until - n_days * DAY - OLDER_APP_EVENTS, until
            ),
        ]
    )
    return events, _truth_frame(subscriptions, mondays, until - n_days * DAY, until)


def _draw_subscribers(
    rng: np.random.Generator, n_subscribers: int, n_days: int, seed: int, until: int
) -> pd.DataFrame:
    """Return one row per subscriber: start, plan, and how much the app is used."""
    plan = draw_by_share(rng, PLANS, n_subscribers)
    is_cramped = (rng.random(n_subscribers) < 0.25) & (plan["plan"] != "business")
    return pd.DataFrame(
        {
            "user_id": entity_ids("subscriber", seed, n_subscribers),
            "started_at": draw_moments(rng, n_subscribers, n_days + OLDER_SUBSCRIPTION_DAYS, until),
            "plan": plan["plan"],
            "monthly_price": plan["monthly_price"],
            "is_cramped": is_cramped,
            "cancel_effect": plan["cancel_effect"] + 0.9 * is_cramped,
            "sign_ins_per_week": rng.gamma(4.0, 1.3, n_subscribers),
        }
    )


def _draw_lives(
    rng: np.random.Generator, subscriptions: pd.DataFrame, until: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Follow subscriptions, week by week, until the last horizon that begins by `until` is over.

    Add `cancelled_at`, NEVER where it lies beyond that, and return one row per subscription and
    Monday at which it runs: the states before and after.
    """
    started_at = subscriptions["started_at"].to_numpy()
    first_monday = started_at + (FIRST_MONDAY - started_at) % WEEK
    cancelled_at = np.full(len(subscriptions), NEVER)
    state = np.full(len(subscriptions), ACTIVE)
    end = until + HORIZON_WEEKS * WEEK
    mondays = []
    for monday in range(first_monday.min(initial=end), end, WEEK):
        running = np.flatnonzero((first_monday <= monday) & (cancelled_at == NEVER))
        before = state[running]
        hazard = _weekly_hazard(
            before,
            monday - started_at[running],
            subscriptions["cancel_effect"].to_numpy()[running],
        )
        leaving = running[rng.random(len(running)) < hazard]
        cancelled_at[leaving] = monday + rng.integers(MINUTE, WEEK, len(leaving))
        shares = TRANSITIONS.cumsum(axis=1)[before, :-1]
        state[running] = (rng.random((len(running), 1)) > shares).sum(axis=1)
        mondays.append((running, np.full(len(running), monday), before, state[running]))
    columns = ["subscription", "monday", "state_before", "state"]
    values = [np.concatenate(parts) for parts in zip(*mondays, strict=True)] or [[]] * len(columns)
    return (
        subscriptions.assign(cancelled_at=cancelled_at),
        pd.DataFrame(dict(zip(columns, values, strict=True)), dtype=np.int64),
    )


def _weekly_hazard(state: np.ndarray, tenure: np.ndarray, cancel_effect: np.ndarray) -> np.ndarray:
    """Return the probability of cancelling within a week that begins in `state`."""
    half_years = np.minimum(tenure / (26 * WEEK), 1.0)
    return sigmoid(-4.1 + STATE_EFFECT[state] + cancel_effect - 0.6 * half_years)


def _cancel_probability(
    state: np.ndarray, tenure: np.ndarray, cancel_effect: np.ndarray
) -> np.ndarray:
    """Return the probability of cancelling within the horizon: one less those who stay each week.

    The chance to be still there is followed through the weeks for all states at once.
    """
    staying = np.eye(len(TRANSITIONS))[state]
    states = np.arange(len(TRANSITIONS))
    for week in range(HORIZON_WEEKS):
        hazard = _weekly_hazard(states, tenure[:, None] + week * WEEK, cancel_effect[:, None])
        staying = (staying * (1.0 - hazard)) @ TRANSITIONS
    return 1.0 - staying.sum(axis=1)


def _draw_returns(rng: np.random.Generator, subscriptions: pd.DataFrame) -> pd.DataFrame:
    """Return the second subscription of the few who come back, weeks after the first has ended."""
    is_back = (subscriptions["cancelled_at"] != NEVER) & (rng.random(len(subscriptions)) < 0.12)
    back = subscriptions[is_back].reset_index(drop=True)
    return back.assign(
        started_at=back["cancelled_at"] + rng.integers(2 * WEEK, 10 * WEEK, len(back))
    )


def _truth_frame(
    subscriptions: pd.DataFrame, mondays: pd.DataFrame, since: int, until: int
) -> pd.DataFrame:
    mondays = mondays[mondays["monday"].between(since, until)]
    mondays = mondays.sort_values(["monday", "subscription"], ignore_index=True)
    subscription = subscriptions.take(mondays["subscription"]).reset_index(drop=True)
    state = mondays["state_before"].to_numpy()
    return pd.DataFrame(
        {
            "user_id": subscription["user_id"],
            "as_of_at": timestamps(mondays["monday"]),
            "state": pd.array(STATES[state], dtype="str"),
            "probability": _cancel_probability(
                state,
                (mondays["monday"] - subscription["started_at"]).to_numpy(),
                subscription["cancel_effect"].to_numpy(),
            ),
            "did_cancel": subscription["cancelled_at"] <= mondays["monday"] + HORIZON_WEEKS * WEEK,
        }
    )


def _subscription_events(subscriptions: pd.DataFrame) -> pd.DataFrame:
    properties = {
        plan: json.dumps({"plan": plan, "monthly_price": price})
        for plan, price in zip(PLANS["plan"], PLANS["monthly_price"], strict=True)
    }
    cancelled = subscriptions[subscriptions["cancelled_at"] != NEVER]
    return pd.concat(
        [
            events_frame(
                frame["user_id"],
                event_type,
                frame[column].to_numpy(),
                frame["plan"].map(properties).to_numpy(),
            )
            for event_type, frame, column in (
                ("subscription_started", subscriptions, "started_at"),
                ("subscription_cancelled", cancelled, "cancelled_at"),
            )
        ]
    )


def _invoice_events(subscriptions: pd.DataFrame, until: int) -> pd.DataFrame:
    """Return the payments, the first one a minute after the start, none after the end."""
    started_at = subscriptions["started_at"].to_numpy()
    end = np.minimum(subscriptions["cancelled_at"].to_numpy(), until)
    n_invoices = np.maximum((end - started_at - MINUTE) // BILLING_PERIOD + 1, 0)
    subscription = np.repeat(np.arange(len(subscriptions)), n_invoices)
    billed_at = started_at[subscription] + position_in_run(n_invoices) * BILLING_PERIOD
    return events_frame(
        subscriptions["user_id"].take(subscription),
        "invoice_paid",
        billed_at + MINUTE,
        json.dumps({"currency": "EUR"}),
        subscriptions["monthly_price"].to_numpy()[subscription],
    )


def _draw_app_events(
    rng: np.random.Generator,
    subscriptions: pd.DataFrame,
    mondays: pd.DataFrame,
    since: int,
    until: int,
) -> pd.DataFrame:
    """Return sign-ins and what follows each of them within minutes, never after the end."""
    started = pd.DataFrame(
        {
            "subscription": np.arange(len(subscriptions)),
            "from_at": subscriptions["started_at"],
            "state": ACTIVE,
        }
    )
    weeks = pd.concat([started, mondays.rename(columns={"monday": "from_at"})], ignore_index=True)
    weeks = weeks[weeks["from_at"].between(since, until)]
    subscription, from_at, state = (
        weeks[column].to_numpy() for column in ("subscription", "from_at", "state")
    )
    cancelled_at = subscriptions["cancelled_at"].to_numpy()
    monday_after = from_at + WEEK - (from_at - FIRST_MONDAY) % WEEK
    length = np.minimum(monday_after, cancelled_at[subscription]) - from_at
    rate = subscriptions["sign_ins_per_week"].to_numpy()[subscription] * SIGN_IN_FACTOR[state]
    n_sign_ins = rng.poisson(rate * length / WEEK)
    subscription = np.repeat(subscription, n_sign_ins)
    signed_in_at = np.repeat(from_at, n_sign_ins) + whole(
        rng.random(len(subscription)) * np.repeat(length, n_sign_ins)
    )

    is_cramped = subscriptions["is_cramped"].to_numpy()
    parts = [(subscription, "signed_in", signed_in_at)]
    for event_type, rates in APP_EVENTS.items():
        n_events = rng.poisson(np.where(is_cramped[subscription], rates[1], rates[0]))
        position = np.repeat(np.arange(len(subscription)), n_events)
        wait = rng.integers(5 * SECOND, 25 * MINUTE, len(position))
        parts.append((subscription[position], event_type, signed_in_at[position] + wait))
    events = pd.concat(
        [
            events_frame(
                subscriptions["user_id"].take(subscription),
                event_type,
                occurred_at,
                json.dumps({"app": "web"}),
            ).assign(is_over=occurred_at >= cancelled_at[subscription])
            for subscription, event_type, occurred_at in parts
        ]
    )
    return events[~events["is_over"]].drop(columns="is_over")
