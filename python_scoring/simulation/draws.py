"""Moments, chances and frames that every simulated business is drawn with.

Inside the package a moment is an integer, microseconds since 1970 in UTC; the frames that leave it
carry timestamps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

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


def draw_by_share(rng: np.random.Generator, table: pd.DataFrame, size: int) -> pd.DataFrame:
    """Return `size` rows of a table, each as often as its column `share` says."""
    return table.iloc[rng.choice(len(table), size, p=table["share"])].reset_index(drop=True)


def draw_moments(rng: np.random.Generator, size: int, n_days: int, until: int) -> np.ndarray:
    """Return sorted moments in the `n_days` before `until`, by weekday and hour of day."""
    slots = until - n_days * DAY + np.arange(24 * n_days) * HOUR
    # 1970-01-01 was a Thursday, the fourth day of a week that begins on Monday.
    weights = WEEKDAY_WEIGHTS[(slots // DAY + 3) % 7] * HOUR_WEIGHTS[slots // HOUR % 24]
    slot = rng.choice(slots, size, p=weights / weights.sum())
    return np.sort(slot + rng.integers(0, HOUR, size))


def draw_log_uniform(rng: np.random.Generator, low: int, high: int, size: int) -> np.ndarray:
    """Return durations from `low` to `high`, all orders of magnitude alike."""
    return whole(np.exp(rng.uniform(np.log(low), np.log(high), size)))


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return the probability whose log odds are `logit`."""
    return 1.0 / (1.0 + np.exp(-logit))


def whole(microseconds: np.ndarray) -> np.ndarray:
    """Return microseconds without their fraction."""
    return microseconds.astype(np.int64)


def running_sum(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sum so far within each run; `counts` are the lengths of the runs, in their order.

    A run may have no values. A value counts in its own sum.
    """
    total = np.cumsum(values)
    before = np.concatenate([[0], total])[np.cumsum(counts) - counts]
    return total - np.repeat(before, counts)


def position_in_run(counts: np.ndarray) -> np.ndarray:
    """Return 0, 1, 2, ... within each run; `counts` are the lengths of the runs, in their order."""
    return running_sum(np.ones(counts.sum(), dtype=np.int64), counts) - 1


def microseconds(duration: timedelta) -> int:
    """Return a duration as a whole number of microseconds."""
    return duration // timedelta(microseconds=1)


def moment(time: datetime) -> int:
    """Return a time with a time zone as microseconds since 1970 in UTC."""
    return microseconds(time - datetime(1970, 1, 1, tzinfo=UTC))


def timestamps(moments: pd.Series | np.ndarray | list[int]) -> pd.DatetimeIndex:
    """Return moments as times in UTC."""
    return pd.DatetimeIndex(np.asarray(moments).astype("datetime64[us]"), tz="UTC")


def entity_ids(kind: str, seed: int, size: int) -> pd.Series:
    """Return the ids of all entities of a kind; no two kinds and no two seeds share any."""
    ids = [f"{kind}-{seed}-{number:06d}" for number in range(1, size + 1)]
    return pd.Series(ids, dtype="str")


def events_frame(
    user_id: pd.Series,
    event_type: str | np.ndarray,
    occurred_at: np.ndarray,
    properties: str | list[str] | np.ndarray,
    amount: float | np.ndarray = np.nan,
    session_id: pd.Series | None = None,
) -> pd.DataFrame:
    """Return events before their delivery, one row each, with `occurred_at` as a moment.

    Without `session_id` the visits are for the warehouse to find, by 30 minutes of silence.
    """
    frame = pd.DataFrame({"user_id": user_id.array, "occurred_at": occurred_at})
    if session_id is None:
        session_id = pd.Series(index=frame.index, dtype="str")
    return frame.assign(
        session_id=session_id.array, event_type=event_type, amount=amount, properties=properties
    ).astype({"event_type": "str", "amount": "float64", "properties": "str"})
