"""Which arm of an experiment an entity belongs to, decided once and by one rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def assign_arm(
    salt: str,
    entity_ids: Sequence[str],
    holdout_share: float,
    control_arm: str,
    treatment_arm: str,
) -> np.ndarray:
    """Return the arm of each entity, an array of strings in the order of `entity_ids`.

    The first 8 hexadecimal digits of md5("<salt>:<entity id>"), read as a share of 2**32, fall
    below `holdout_share` for the control arm. So an entity keeps its arm for ever, and another
    salt shuffles anew.
    """
    shares = np.array(
        [
            int(hashlib.md5(f"{salt}:{entity_id}".encode()).hexdigest()[:8], 16) / 2**32
            for entity_id in entity_ids
        ],
        dtype=float,
    )
    return np.where(shares < holdout_share, control_arm, treatment_arm)
