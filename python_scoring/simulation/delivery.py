"""How events reach a warehouse: late, twice or broken, and the same for every business."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from python_scoring.simulation.draws import DAY, HOUR, MINUTE, SECOND, draw_log_uniform, timestamps


def deliver(rng: np.random.Generator, events: pd.DataFrame, seed: int, until: int) -> pd.DataFrame:
    """Return the deliveries that arrived by `until`, in order of arrival.

    Most events arrive within a minute, 2 % late by an hour to three days, 1 % a second time, and
    another 0.5 % of rows are broken. What is broken has an event id of its own or none, so that
    no real event is lost with it.
    """
    events = _in_order(events, "occurred_at", until)
    n_events = len(events)
    delay = rng.integers(SECOND, MINUTE, n_events)
    is_late = rng.random(n_events) < 0.02
    delay[is_late] = draw_log_uniform(rng, HOUR, 3 * DAY, is_late.sum())
    first = pd.DataFrame(
        {
            "event_id": [f"event-{seed}-{number:08d}" for number in range(n_events)],
            "event_type": events["event_type"],
            "user_id": events["user_id"],
            "session_id": events["session_id"],
            "occurred_at": timestamps(events["occurred_at"]),
            "amount": events["amount"],
            "properties": events["properties"],
            "loaded_at": timestamps(events["occurred_at"] + delay),
        }
    )
    deliveries = pd.concat(
        [first, _draw_repeats(rng, first), _draw_broken(rng, first, seed)], ignore_index=True
    )
    return _in_order(deliveries, "loaded_at", timestamps([until])[0])


def _in_order(frame: pd.DataFrame, column: str, until: int | pd.Timestamp) -> pd.DataFrame:
    """Return the rows whose time in `column` is at most `until`, in order of that time."""
    times = frame[column].sort_values(kind="stable")
    return frame.take(times.index[times <= until]).reset_index(drop=True)


def _draw_repeats(rng: np.random.Generator, first: pd.DataFrame) -> pd.DataFrame:
    """Return second deliveries, a minute to three days later; some carry one more property."""
    repeats = first[rng.random(len(first)) < 0.01].copy()
    wait = draw_log_uniform(rng, MINUTE, 3 * DAY, len(repeats))
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
