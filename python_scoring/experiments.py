"""Which arm of an experiment an entity belongs to, decided once and by one rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np


@dataclass(frozen=True)
class Arm:
    """An arm of an experiment.

    `share` of the eligible entities goes to it, those from `share_from` on, both in [0, 1];
    `offer_amount` is the worth of what each is offered, in the events' money.
    """

    arm: str
    offer_amount: Decimal
    share: float
    share_from: float


def assign_arm(salt: str, entity_ids: Sequence[str], arms: Sequence[Arm]) -> np.ndarray:
    """Return which arm each entity belongs to: its place in `arms`, in the order of `entity_ids`.

    The first 8 hexadecimal digits of md5("<salt>:<entity id>"), read as a share of 2**32, belong to
    the last arm that begins there or before. So an entity has the same arm whenever it is asked
    for, and another salt shuffles anew.

    Args:
        salt: The experiment's.
        entity_ids: Whom to look at.
        arms: By rising `share_from`, the first from 0 on; of two that begin together, the one
            without a share first.
    """
    shares = np.array(
        [
            int(hashlib.md5(f"{salt}:{entity_id}".encode()).hexdigest()[:8], 16) / 2**32
            for entity_id in entity_ids
        ],
        dtype=float,
    )
    return np.searchsorted([arm.share_from for arm in arms], shares, side="right") - 1
