"""The statistics macros on Postgres, held against scipy, scikit-learn and decimal arithmetic."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
from helpers import compiled_macros, select
from scipy import stats
from sklearn.metrics import log_loss

from python_scoring.settings import Settings

EPSILON = sys.float_info.epsilon
MACRO_CALLS = {
    "ratio": "ratio('numerator', 'denominator')",
    "wilson_lower": "wilson_bound('successes', 'trials', 'lower')",
    "wilson_upper": "wilson_bound('successes', 'trials', 'upper')",
    "welch": "welch_degrees_of_freedom('variance_a', 'n_a', 'variance_b', 'n_b')",
    "log_loss": "log_loss('score', 'is_positive')",
    "score_bin_10": "score_bin('score', 10)",
    "score_bin_1000": "score_bin('score', 1000)",
    "score_bin_10000": "score_bin('score', 10000)",
    "histogram_bin": "histogram_bin('score')",
    "histogram_bin_edge": "histogram_bin_edge('bin')",
    "exact_sum": "exact_sum('value', 'true')",
    "exact_sum_shuffled": "exact_sum('shuffled', 'true')",
    "exact_sum_above_1": "exact_sum('value', 'value > 1')",
    "exact_sum_of_none": "exact_sum('value', 'value < 0')",
}


@pytest.fixture(scope="module")
def database(make_database: Callable[[str], Settings]) -> Settings:
    """A database of its own: dbt builds a part of the project in it."""
    return make_database("statistics")


@pytest.fixture(scope="module")
def macros(database: Settings) -> dict[str, str]:
    """The SQL that dbt makes of every call above, by name."""
    return compiled_macros(database, MACRO_CALLS)


def test_ratio_divides_integers_as_numbers_and_nothing_by_zero(database, macros):
    rows = select(
        database,
        [macros["ratio"]],
        numerator=[1, -3, 0, 1, 0, None, 1],
        denominator=[3, 4, 5, 0, 0, 2, None],
    )
    assert rows == [(1 / 3,), (-0.75,), (0.0,), (None,), (None,), (None,), (None,)]


def test_wilson_bounds_agree_with_scipy(database, macros):
    pairs = [
        (successes, trials)
        for trials in (1, 2, 3, 7, 20, 100, 10_000, 20_000_000)
        for successes in sorted({*range(min(trials, 25)), trials // 3, trials - 1, trials})
    ]
    rows = select(
        database,
        [macros["wilson_lower"], macros["wilson_upper"]],
        successes=[successes for successes, _ in pairs],
        trials=[trials for _, trials in pairs],
    )
    for pair, (lower, upper) in zip(pairs, rows, strict=True):
        interval = stats.binomtest(*pair).proportion_ci(0.95, method="wilson")
        assert lower == pytest.approx(interval.low, rel=1e-12, abs=1e-15), pair
        assert upper == pytest.approx(interval.high, rel=1e-12), pair
        assert 0 <= lower < upper <= 1, pair


def test_wilson_bounds_agree_with_the_reference_and_are_null_without_trials(database, macros):
    rows = select(
        database,
        [macros["wilson_lower"], macros["wilson_upper"]],
        successes=[1000, 3, 0],
        trials=[10_000, 20, 0],
    )
    assert rows[0] == pytest.approx((0.0942728302, 0.1060343685), abs=5e-11)
    assert rows[1] == pytest.approx((0.0523687459, 0.3604188647), abs=5e-11)
    assert rows[2] == (None, None)


def test_welch_degrees_of_freedom_agree_with_scipy(database, macros):
    generator = np.random.default_rng(4)
    pairs = [
        (generator.normal(0, scale, n_a), generator.exponential(1, n_b))
        for n_a in (2, 3, 17, 400)
        for n_b in (2, 5, 1000)
        for scale in (0.01, 1, 50)
    ]
    rows = select(
        database,
        [macros["welch"]],
        variance_a=[float(a.var(ddof=1) / len(a)) for a, _ in pairs],
        n_a=[len(a) for a, _ in pairs],
        variance_b=[float(b.var(ddof=1) / len(b)) for _, b in pairs],
        n_b=[len(b) for _, b in pairs],
    )
    expected = [stats.ttest_ind(a, b, equal_var=False).df for a, b in pairs]
    assert [nu for (nu,) in rows] == pytest.approx(expected, rel=1e-11)


def test_welch_degrees_of_freedom_are_null_where_nothing_varies(database, macros):
    rows = select(
        database,
        [macros["welch"]],
        variance_a=[0.0, 1.0, None],
        n_a=[5, 1, 5],
        variance_b=[0.0, 1.0, 1.0],
        n_b=[5, 5, 5],
    )
    assert rows == [(None,), (None,), (None,)]


@pytest.mark.parametrize("n_bins", [10, 1000, 10_000])
def test_score_bins_hold_the_scores_that_their_decimals_say(database, macros, n_bins):
    """A score stands for the shortest decimal that reads as it, so 0.29 is in [0.29, 0.30)."""
    edges = np.arange(1, n_bins) / n_bins
    scores = [
        *(k / 10_000 for k in range(10_001)),
        *np.nextafter(edges, 0).tolist(),
        *np.nextafter(edges, 1).tolist(),
        *np.random.default_rng(5).random(10_000).tolist(),
        *(5e-324, math.nextafter(1.0, 0.0)),
    ]
    rows = select(database, [macros[f"score_bin_{n_bins}"]], score=scores)
    expected = [min(int(Decimal(repr(score)) * n_bins), n_bins - 1) for score in scores]
    assert [score_bin for (score_bin,) in rows] == expected
    assert {type(score_bin) for (score_bin,) in rows} == {int}


def test_histogram_bins_hold_the_scores_that_their_decimals_say(database, macros):
    """A bin reaches from its edge to the next; every four-decimal score is in the right one."""
    numbers = list(range(1081))
    edges = [edge for (edge,) in select(database, [macros["histogram_bin_edge"]], bin=numbers)]
    assert [edges[0], edges[-1]] == [0, 1]
    assert edges == sorted(set(edges))
    # Nothing is nearer to an edge than the decimals that it is written with.
    assert all(edge == float(f"{edge:.5f}") for edge in edges)
    assert set(np.arange(401) / 400) <= set(edges)
    scores = [
        *(k / 10_000 for k in range(10_001)),
        *edges,
        *np.nextafter(edges[1:], 0).tolist(),
        *np.nextafter(edges[:-1], 1).tolist(),
        *np.random.default_rng(5).random(10_000).tolist(),
    ]
    rows = select(database, [macros["histogram_bin"]], score=scores)
    exact = [Decimal(f"{edge:.5f}") for edge in edges]
    expected = [min(bisect_right(exact, Decimal(repr(score))), 1080) - 1 for score in scores]
    assert [score_bin for (score_bin,) in rows] == expected


def test_log_loss_agrees_with_scikit_learn_at_the_ends_too(database, macros):
    small = [0.0, 5e-324, 1e-300, 1e-17, EPSILON / 2, EPSILON, 2 * EPSILON, 1e-12, 1e-6]
    scores = [*small, *np.linspace(0.001, 0.999, 99).tolist(), *(1 - score for score in small)]
    labels = [False, True]
    rows = select(
        database,
        [macros["log_loss"]],
        score=[score for score in scores for _ in labels],
        is_positive=labels * len(scores),
    )
    expected = [log_loss([label], [score], labels=labels) for score in scores for label in labels]
    assert [loss for (loss,) in rows] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_exact_sum_is_the_same_in_any_order(database, macros):
    generator = np.random.default_rng(6)
    values = generator.exponential(size=5000)
    ((total, shuffled, above_1, none, plain, plain_shuffled),) = select(
        database,
        [
            f"cast({macros[name]} as text)"
            for name in ("exact_sum", "exact_sum_shuffled", "exact_sum_above_1")
        ]
        + [macros["exact_sum_of_none"], "sum(value)", "sum(shuffled)"],
        value=values.tolist(),
        shuffled=generator.permutation(values).tolist(),
    )
    assert total == shuffled
    # The order does matter to a plain sum of these numbers.
    assert plain != plain_shuffled
    # Each number is rounded to 12 decimals.
    tolerance = len(values) * 0.5e-12
    assert float(total) == pytest.approx(math.fsum(values), abs=tolerance)
    assert float(above_1) == pytest.approx(math.fsum(values[values > 1]), abs=tolerance)
    assert none == 0
