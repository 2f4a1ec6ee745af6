"""Intervals of simulated experiments hold the truth as often as they say.

A small version of `python -m benchmarks.validity`, with fixed seeds. A share of so many experiments
stays within its bounds with probability 0.9999, if it is what it should be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import binom

from benchmarks.validity import Trial, run
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

N = 150
ESTIMATORS = ("plain", "post_stratified", "cuped_score")


@pytest.fixture(scope="module")
def found(make_database: Callable[[str], Settings]) -> dict[str, dict[str, Any]]:
    """What the marts say of experiments without and with an effect."""
    settings = make_database("validity")
    run_dbt(settings, ["seed"])
    return {
        kind: run(settings, Trial(N, n_days=10, n_a_day=60, effect=effect, seed=seed))
        for kind, effect, seed in (("A/A", 0.0, 1), ("A/B", 0.06, 2))
    }


def assert_share(share: float, expected: float) -> None:
    low, high = binom.interval(0.9999, N, expected)
    assert low <= round(share * N) <= high, share


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_effect_is_found_where_there_is_none(found: dict, estimator: str) -> None:
    assert_share(found["A/A"]["rejected_at_the_end"][estimator], 0.05)


def test_looking_every_day_finds_no_effect_where_there_is_none(found: dict) -> None:
    for kind in found.values():
        assert kind["excludes_the_truth_at_any_look"] <= binom.ppf(0.9999, N, 0.05) / N


@pytest.mark.parametrize("quantity", ["conversion", "lift", "net_money"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_hold_the_truth(found: dict, estimator: str, quantity: str) -> None:
    for kind in found.values():
        assert_share(kind["covered"][estimator][quantity], 0.95)


def test_an_effect_is_found(found: dict) -> None:
    """The checks above would pass of intervals without end."""
    assert found["A/B"]["rejected_at_the_end"]["plain"] > 0.15
    assert found["A/B"]["rejected_at_the_end"]["cuped_score"] > 0.2


@pytest.mark.parametrize("estimator", ESTIMATORS[1:])
def test_variance_falls_by_what_is_stated(found: dict, estimator: str) -> None:
    ratios = [kind["variance_ratio"][estimator] for kind in found.values()]
    stated, seen = (sum(ratio[name] for ratio in ratios) / 2 for name in ("stated", "found"))
    assert stated > 1.2
    # Of 300 pairs of estimates that move together: four standard errors, and above 1.
    assert seen == pytest.approx(stated, rel=0.2)
    assert seen > 1.05
