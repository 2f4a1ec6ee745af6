"""The macros of tests and intervals on Postgres, held against scipy, statsmodels and gbstats.

The numbers of gbstats 0.8.0 stand here as it printed them, since it is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from helpers import compiled_macros, fetch, select
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from python_scoring.settings import Settings

WELCH = "welch_degrees_of_freedom('variance', 'n', 'control_variance', 'control_n')"
COUNTS = "'successes', 'trials', 'control_successes', 'control_trials'"
ADJUSTED = "'p_value', 'p_value_rank', 'n_p_values', 'family, subfamily'"
MACRO_CALLS = {
    "normal_p": "normal_p_value('z')",
    "normal_cdf": "normal_cdf('z')",
    "normal_quantile": "normal_quantile('p')",
    "normal_quantile_975": "normal_quantile('0.975')",
    "student_p": "student_t_p_value('t', 'nu')",
    "student_quantile": "student_t_quantile('p', 'nu')",
    "chi_square_p": "chi_square_p_value('x', 'nu')",
    "newcombe_lower": f"newcombe_bound({COUNTS}, 'lower')",
    "newcombe_upper": f"newcombe_bound({COUNTS}, 'upper')",
    "welch_quantile": f"student_t_quantile('0.975', {WELCH})",
    "welch_p": f"student_t_p_value('estimate / standard_error', {WELCH})",
    "ratio_variance": "ratio_variance('a', 'variance_a', 'b', 'variance_b')",
    "ratio_variance_of_pairs": "ratio_variance('a', 'variance_a', 'b', 'variance_b', 'covariance')",
    "sequence_margin": "confidence_sequence_margin('variance', 'n')",
    "sequence_margin_20000": "confidence_sequence_margin('variance', 'n', 20000)",
    "sequence_p": "confidence_sequence_p_value('estimate', 'variance', 'n')",
    "sequence_p_20000": "confidence_sequence_p_value('estimate', 'variance', 'n', 20000)",
    "covariance": "sample_covariance('n', 'sum_a', 'sum_b', 'sum_ab')",
    "theta": "cuped_theta('n', 'sum_y', 'sum_x', 'sum_squared_x', 'sum_xy')",
    "cuped_variance": "cuped_variance('variance_y', 'variance_x', 'covariance', 'theta')",
    "holm": f"holm_p_value({ADJUSTED})",
    "benjamini_hochberg": f"benjamini_hochberg_p_value({ADJUSTED})",
}

# Control and treatment of an experiment, as rates: n, mean, variance of the mean.
RATES = [(n, k / n, k / n * (1 - k / n) / n) for k, n in ((1000, 10_000), (1105, 10_100))]


@pytest.fixture(scope="module")
def database(make_database: Callable[[str], Settings]) -> Settings:
    return make_database("inference")


@pytest.fixture(scope="module")
def macros(database: Settings) -> dict[str, str]:
    """The SQL that dbt makes of every call above, by name."""
    return compiled_macros(database, MACRO_CALLS)


@pytest.fixture(scope="module")
def evaluate(database: Settings, macros: dict[str, str]) -> Callable[..., np.ndarray]:
    """A function that evaluates a macro for rows of columns; NULL becomes NaN."""

    def evaluate(name: str, **columns: Any) -> np.ndarray:
        rows = select(
            database,
            [macros[name]],
            **{column: np.atleast_1d(values).tolist() for column, values in columns.items()},
        )
        assert {type(value) for (value,) in rows} <= {float, type(None)}
        return np.array([value for (value,) in rows], dtype=float)

    return evaluate


def pairs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Every value of the first with every value of the second."""
    grids = np.meshgrid(np.asarray(first, float), np.asarray(second, float))
    return grids[0].ravel(), grids[1].ravel()


def assert_close(found: np.ndarray, expected: Any, rtol: float = 1e-12, atol: float = 0) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


# The normal distribution -----------------------------------------------------------------------


def test_normal_p_values_agree_with_scipy_down_to_the_smallest(evaluate):
    z = np.concatenate([np.linspace(-37, 37, 2001), np.geomspace(1e-300, 1, 50)])
    assert_close(evaluate("normal_p", z=z), 2 * stats.norm.sf(abs(z)))


def test_no_p_value_is_zero(evaluate):
    assert_close(evaluate("normal_p", z=[38.0, -1e300, math.inf]), 1e-300)
    assert_close(evaluate("student_p", t=[1e3, -1e300], nu=[1e7, 1e7]), 1e-300)
    assert_close(evaluate("chi_square_p", x=[2e3, 1e300, math.inf], nu=[20, 1, 2]), 1e-300)
    found = evaluate("sequence_p", estimate=[1.0], variance=[1e-9], n=[1e6])
    assert_close(found, 1e-300)


def test_normal_distribution_function_agrees_with_scipy_in_both_tails(evaluate):
    z = np.linspace(-37, 37, 2001)
    assert_close(evaluate("normal_cdf", z=z), stats.norm.cdf(z))


def test_normal_quantiles_agree_with_scipy(evaluate):
    p = np.concatenate(
        [
            np.geomspace(1e-300, 0.1, 500),
            np.linspace(0.001, 0.999, 999),
            1 - np.geomspace(1e-16, 0.1, 100),
            # Where one polynomial takes over from another.
            *(np.nextafter(edge, [0, edge, 1]) for edge in (0.075, 0.925, math.exp(-25))),
        ]
    )
    assert_close(evaluate("normal_quantile", p=p), stats.norm.ppf(p), rtol=2e-15, atol=1e-16)


def test_a_confidence_level_may_be_a_literal(evaluate):
    assert_close(evaluate("normal_quantile_975", unused=[1]), stats.norm.ppf(0.975), rtol=1e-15)


# Student's t -----------------------------------------------------------------------------------

DEGREES = [*np.linspace(1, 20, 58), *np.geomspace(20, 1e7, 40)]


def test_student_t_p_values_agree_with_scipy(evaluate):
    t, nu = pairs([0, *np.geomspace(1e-6, 1e3, 91)], DEGREES)
    expected = np.maximum(2 * stats.t.sf(t, nu), 1e-300)
    assert ((expected > 1e-300) & (expected < 1e-200)).sum() > 50
    assert_close(evaluate("student_p", t=t, nu=nu), expected, rtol=1e-10)
    assert_close(evaluate("student_p", t=-t, nu=nu), expected, rtol=1e-10)


def test_student_t_p_values_agree_with_closed_forms_however_large_t_is(evaluate):
    """2 / pi arctan(1 / t) for one degree of freedom, 1 - t / sqrt(2 + t^2) for two."""
    t = np.geomspace(1e-2, 1e90, 300)
    assert_close(evaluate("student_p", t=t, nu=np.ones(300)), 2 / np.pi * np.arctan(1 / t))
    root = np.hypot(math.sqrt(2), t)
    expected = 2 / root / (root + t)
    assert_close(evaluate("student_p", t=t, nu=np.full(300, 2.0)), expected)


def test_student_t_is_normal_for_infinitely_many_degrees_of_freedom(evaluate):
    t = np.linspace(0, 30, 61)
    assert_close(evaluate("student_p", t=t, nu=np.full(61, 1e90)), 2 * stats.norm.sf(t))
    p = np.linspace(0.005, 0.995, 199)
    found = evaluate("student_quantile", p=p, nu=np.full(199, 1e90))
    assert_close(found, stats.norm.ppf(p), atol=1e-14)


def test_student_t_quantiles_agree_with_scipy(evaluate):
    p, nu = pairs(
        [*np.geomspace(1e-12, 0.1, 23), *np.linspace(0.1, 0.9, 17), 0.975, 0.995, 1 - 1e-6],
        DEGREES,
    )
    # Near the middle a double can say the quantile no better than the probability.
    found = evaluate("student_quantile", p=p, nu=nu)
    assert_close(found, stats.t.ppf(p, nu), rtol=1e-9, atol=1e-14)
    assert (found[p == 0.5] == 0).all()


def test_student_t_quantiles_are_where_the_p_value_says(evaluate):
    """Far out, where what they are held against is itself in doubt."""
    p, nu = pairs(np.geomspace(1e-100, 0.4, 60), DEGREES)
    t = evaluate("student_quantile", p=p, nu=nu)
    assert (t < 0).all()
    assert_close(evaluate("student_p", t=t, nu=nu), 2 * p, rtol=1e-11)
    is_cauchy = nu == 1
    assert_close(t[is_cauchy], -1 / np.tan(np.pi * p[is_cauchy]), rtol=1e-11)


# Chi-square ------------------------------------------------------------------------------------


def test_chi_square_p_values_agree_with_scipy(evaluate):
    x, nu = pairs([0, 1e-300, *np.geomspace(1e-9, 1300, 200)], range(1, 21))
    expected = stats.chi2.sf(x, nu)
    assert expected.min() < 1e-280
    assert_close(evaluate("chi_square_p", x=x, nu=nu.astype(int)), expected)


@pytest.mark.parametrize(
    ("counts", "shares", "expected"),
    [
        ((10_000, 10_100), (1, 1), 0.4805951794),
        ((10_000, 10_600), (1, 1), 2.909992e-05),
        ((100, 200, 310), (1, 2, 3), 0.9213021648),
    ],
)
def test_sample_ratios_agree_with_the_reference(evaluate, counts, shares, expected):
    test = stats.chisquare(counts, np.array(shares) * sum(counts) / sum(shares))
    (found,) = evaluate("chi_square_p", x=[float(test.statistic)], nu=[len(counts) - 1])
    assert found == pytest.approx(test.pvalue, rel=1e-12)
    assert found == pytest.approx(expected, rel=5e-7 if expected < 1e-3 else 1e-10)


# Two arms --------------------------------------------------------------------------------------


def test_newcombe_bounds_agree_with_statsmodels(evaluate):
    arms = [(0, 1), (1, 1), (0, 20), (3, 20), (20, 20), (1000, 10_000), (1105, 10_100), (7, 10**7)]
    rows = [(*treated, *control) for treated in arms for control in arms]
    columns = dict(
        zip(
            ("successes", "trials", "control_successes", "control_trials"),
            zip(*rows, strict=True),
            strict=True,
        )
    )
    expected = [
        confint_proportions_2indep(*row, compare="diff", method="newcomb", correction=False)
        for row in rows
    ]
    lower, upper = (evaluate(f"newcombe_{side}", **columns) for side in ("lower", "upper"))
    # statsmodels rounds where a rate is 0 or 1.
    assert_close(np.column_stack([lower, upper]), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1105, 10_100, 1000, 10_000), (0.000938678973, 0.017873401861)),
        ((9, 20, 3, 18), (-0.0127452705, 0.5177636843)),
    ],
)
def test_newcombe_bounds_agree_with_the_reference(evaluate, counts, expected):
    names = ("successes", "trials", "control_successes", "control_trials")
    columns = {name: [count] for name, count in zip(names, counts, strict=True)}
    found = [evaluate(f"newcombe_{side}", **columns)[0] for side in ("lower", "upper")]
    assert found == pytest.approx(expected, abs=5e-11)


def welch_of(evaluate, difference: float, variances: tuple, counts: tuple, rescaled: float = 1):
    """Interval and p of a difference, whose standard error is that of the means rescaled."""
    standard_error = math.sqrt(sum(variances)) * rescaled
    columns = {
        "variance": [variances[1]],
        "n": [counts[1]],
        "control_variance": [variances[0]],
        "control_n": [counts[0]],
    }
    (quantile,) = evaluate("welch_quantile", **columns)
    (p_value,) = evaluate(
        "welch_p", estimate=[difference], standard_error=[standard_error], **columns
    )
    margin = quantile * standard_error
    return difference - margin, difference + margin, p_value


@pytest.mark.parametrize("sizes", [(2, 2), (3, 17), (40, 5), (500, 1000)])
def test_welch_agrees_with_statsmodels_and_scipy(evaluate, sizes):
    generator = np.random.default_rng(sum(sizes))
    control = generator.normal(0, 3, sizes[0])
    treated = generator.exponential(2, sizes[1])
    found = welch_of(
        evaluate,
        treated.mean() - control.mean(),
        tuple(float(arm.var(ddof=1) / len(arm)) for arm in (control, treated)),
        sizes,
    )
    means = CompareMeans(DescrStatsW(treated), DescrStatsW(control))
    assert found[:2] == pytest.approx(means.tconfint_diff(usevar="unequal"), rel=1e-10)
    test = stats.ttest_ind(treated, control, equal_var=False)
    assert found[2] == pytest.approx(test.pvalue, rel=1e-10)


def test_welch_agrees_with_gbstats(evaluate):
    (n_c, p_c, v_c), (n_t, p_t, v_t) = RATES
    lower, upper, p_value = welch_of(evaluate, p_t - p_c, (v_c, v_t), (n_c, n_t))
    assert [lower, upper] == pytest.approx([0.000941844653042, 0.0178700365351], rel=1e-11)
    assert p_value == pytest.approx(0.0294034269166, rel=1e-11)


def test_relative_lift_agrees_with_gbstats(evaluate):
    (n_c, p_c, v_c), (n_t, p_t, v_t) = RATES
    (variance,) = evaluate("ratio_variance", a=[p_t], variance_a=[v_t], b=[p_c], variance_b=[v_c])
    assert math.sqrt(variance) == pytest.approx(0.0451883285419, rel=1e-11)
    rescaled = math.sqrt(variance / (v_c + v_t))
    found = welch_of(evaluate, p_t / p_c - 1, (v_c, v_t), (n_c, n_t), rescaled)
    expected = (0.0054865706332, 0.182632241248, 0.0374010027037)
    assert found == pytest.approx(expected, rel=1e-10)


def test_ratio_metrics_agree_with_gbstats(evaluate):
    """Ratio of two sums over the same rows: n, M, M^2, D, D^2, MD of the control, the treatment."""
    ratios, variances, counts = [], [], []
    for n, m, mm, d, dd, md in (
        (1000, 5000, 30_000, 2000, 5000, 11_500),
        (1020, 5400, 33_000, 2060, 5200, 12_400),
    ):
        variance_m, variance_d, covariance = (
            evaluate("covariance", n=[n] * 3, sum_a=[m, d, m], sum_b=[m, d, d], sum_ab=[mm, dd, md])
            / n
        )
        ratios.append(m / d)
        variances += evaluate(
            "ratio_variance_of_pairs",
            a=[m / n],
            variance_a=[variance_m],
            b=[d / n],
            variance_b=[variance_d],
            covariance=[covariance],
        ).tolist()
        counts.append(n)
    (variance,) = evaluate(
        "ratio_variance",
        a=[ratios[1]],
        variance_a=[variances[1]],
        b=[ratios[0]],
        variance_b=[variances[0]],
    )
    rescaled = math.sqrt(variance / sum(variances))
    lift = ratios[1] / ratios[0] - 1
    assert lift == pytest.approx(0.0485436893204, rel=1e-11)
    found = welch_of(evaluate, lift, tuple(variances), tuple(counts), rescaled)
    expected = (0.0142623111816, 0.0828250674592, 0.00553626964553)
    assert found == pytest.approx(expected, rel=1e-10)


# Always valid ----------------------------------------------------------------------------------


def sequence_margin(alpha: float, variance: float, n: float, n_tuned: float) -> float:
    """Half the width of the sequence at another level, with the rho of 0.05."""
    rho_squared = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / n_tuned
    growth = n * rho_squared + 1
    return math.sqrt(variance * n) * math.sqrt(
        2 * growth * math.log(math.sqrt(growth) / alpha) / (n**2 * rho_squared)
    )


@pytest.mark.parametrize(
    ("suffix", "interval", "expected"),
    [
        ("", (-0.047274951530818, 0.235393763412006), 0.702092151656393),
        ("_20000", (-0.0430955519532, 0.231214363834), 0.437053935936),
    ],
)
def test_confidence_sequences_agree_with_gbstats(evaluate, suffix, interval, expected):
    (_, p_c, v_c), (_, p_t, v_t) = RATES
    variance = v_t / p_c**2 + v_c * p_t**2 / p_c**4
    lift = p_t / p_c - 1
    (margin,) = evaluate(f"sequence_margin{suffix}", variance=[variance], n=[20_100])
    assert [lift - margin, lift + margin] == pytest.approx(interval, rel=1e-10)
    found = evaluate(f"sequence_p{suffix}", estimate=[lift], variance=[variance], n=[20_100])
    assert found == pytest.approx([expected], rel=1e-11)


def test_the_always_valid_p_is_the_level_at_which_the_sequence_reaches_zero(evaluate):
    cases = [(z, n) for z in (2.5, 3.0, 5.0, 12.0, -4.0) for n in (200, 5000, 10**6)]
    found = evaluate(
        "sequence_p",
        estimate=[0.01 * z for z, _ in cases],
        variance=[1e-4] * len(cases),
        n=[n for _, n in cases],
    )
    n_significant = 0
    for (z, n), p_value in zip(cases, found, strict=True):
        if sequence_margin(1, 1e-4, n, 5000) > 0.01 * abs(z):
            assert p_value == 1
            continue
        log_level = optimize.brentq(
            lambda log_p, z=z, n=n: sequence_margin(math.exp(log_p), 1e-4, n, 5000) - 0.01 * abs(z),
            -400,
            0,
            xtol=1e-13,
        )
        assert p_value == pytest.approx(math.exp(log_level), rel=1e-10), (z, n)
        n_significant += p_value < 0.05
    assert n_significant >= 5


# CUPED -----------------------------------------------------------------------------------------


def test_covariances_of_decimals_are_exact(database, macros, evaluate):
    """Three rows near a billion, whose covariance is 1 and whose doubles lose it."""
    rows = [(10**9, 10**9), (10**9 + 1, 10**9 + 1), (10**9 + 2, 10**9 + 2)]
    sums = {
        "n": 3,
        "sum_a": sum(a for a, _ in rows),
        "sum_b": sum(b for _, b in rows),
        "sum_ab": sum(a * b for a, b in rows),
    }
    columns = {name: [Decimal(value)] for name, value in sums.items()}
    assert select(database, [macros["covariance"]], **columns) == [(1.0,)]
    assert evaluate("covariance", **{name: [float(v)] for name, v in sums.items()}) != [1]


def test_theta_is_the_slope_of_a_regression(evaluate):
    generator = np.random.default_rng(8)
    x = generator.gamma(2, 3, 400)
    y = 0.6 * x + generator.normal(0, 2, 400)
    (theta,) = evaluate(
        "theta",
        n=[400],
        sum_y=[y.sum()],
        sum_x=[x.sum()],
        sum_squared_x=[(x * x).sum()],
        sum_xy=[(x * y).sum()],
    )
    assert theta == pytest.approx(stats.linregress(x, y).slope, rel=1e-11)
    covariances = np.cov(y, x)
    (variance,) = evaluate(
        "cuped_variance",
        variance_y=[covariances[0, 0]],
        variance_x=[covariances[1, 1]],
        covariance=[covariances[0, 1]],
        theta=[theta],
    )
    assert variance == pytest.approx((y - theta * x).var(ddof=1), rel=1e-11)
    assert variance < y.var(ddof=1) / 2


def test_cuped_agrees_with_gbstats(evaluate):
    """Sums of outcome, its squares, covariate, its squares and products, by arm."""
    control = (5000, 51_000, 900_000, 40_000, 600_000, 600_000)
    treated = (5100, 53_500, 970_000, 40_700, 610_000, 633_000)
    n, y, _, x, xx, xy = (sum(arm) for arm in zip(control, treated, strict=True))
    (theta,) = evaluate("theta", n=[n], sum_y=[y], sum_x=[x], sum_squared_x=[xx], sum_xy=[xy])
    assert theta == pytest.approx(0.704238058618, rel=1e-11)
    means, variances, plain = [], [], []
    for n, y, yy, x, xx, xy in (control, treated):
        of_y, of_x, of_both = evaluate(
            "covariance", n=[n] * 3, sum_a=[y, x, x], sum_b=[y, x, y], sum_ab=[yy, xx, xy]
        )
        (variance,) = evaluate(
            "cuped_variance",
            variance_y=[of_y],
            variance_x=[of_x],
            covariance=[of_both],
            theta=[theta],
        )
        means.append(y / n - theta * x / n)
        variances.append(variance / n)
        plain.append((y / n, of_y / n, of_x / n, of_both / n))
    difference = means[1] - means[0]
    lower, upper, p_value = welch_of(evaluate, difference, tuple(variances), (5000, 5100))
    assert difference == pytest.approx(0.304004667816, rel=1e-11)
    assert [lower, upper] == pytest.approx([0.0272775985, 0.5807317372], abs=5e-11)
    assert p_value == pytest.approx(0.0313092797, abs=5e-11)
    # The relative lift takes the unadjusted means, so the control's errors are correlated.
    (mean_c, of_y, of_x, of_both), (mean_t, *_) = plain
    assert difference / mean_c == pytest.approx(0.0298043791977, rel=1e-11)
    variance = evaluate(
        "ratio_variance_of_pairs",
        a=[mean_t],
        variance_a=[variances[1] + theta**2 * of_x],
        b=[mean_c],
        variance_b=[of_y],
        covariance=[theta * of_both],
    )
    assert np.sqrt(variance) == pytest.approx([0.0140367038], abs=5e-11)


# Many tests ------------------------------------------------------------------------------------


def adjusted(database: Settings, macros: dict[str, str], rows: list[tuple]) -> list[tuple]:
    """Holm's and Benjamini and Hochberg's p of rows of family, subfamily and p, in their order."""
    return fetch(
        database,
        f"""
        with tests as (
            select * from unnest(%s::text[], %s::text[], %s::float8[]) with ordinality
                as input (family, subfamily, p_value, ordinal)
        ),
        ranked as (
            select
                *,
                row_number() over (
                    partition by family, subfamily order by p_value, ordinal
                ) as p_value_rank,
                count(p_value) over (partition by family, subfamily) as n_p_values
            from tests
        )
        select {macros["holm"]}, {macros["benjamini_hochberg"]} from ranked order by ordinal
        """,
        [list(column) for column in zip(*rows, strict=True)],
    )


def test_adjusted_p_values_agree_with_the_reference(database, macros):
    p_values = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205]
    found = np.array(adjusted(database, macros, [("a", "b", p) for p in p_values]))
    assert_close(found[:, 0], [0.008, 0.056, *[0.234] * 6])
    assert_close(found[:, 1], [0.008, 0.032, *[0.0672] * 3, 0.08, 0.074 * 8 / 7, 0.205])


def test_adjusted_p_values_agree_with_statsmodels_family_by_family(database, macros):
    generator = np.random.default_rng(9)
    rows = []
    for family, size in (("one", 1), ("few", 5), ("many", 200), ("ties", 30)):
        p_values = generator.beta(0.3, 1, size)
        if family == "ties":
            p_values = p_values.round(1)
        rows += [(family, "first", float(p)) for p in p_values]
        rows += [(family, "second", float(p)) for p in generator.random(size)]
    rows = [rows[k] for k in generator.permutation(len(rows))]
    found = np.array(adjusted(database, macros, rows))
    for family in {row[:2] for row in rows}:
        is_here = [row[:2] == family for row in rows]
        p_values = np.array([row[2] for row in rows])[is_here]
        for column, method in enumerate(("holm", "fdr_bh")):
            expected = multipletests(p_values, method=method)[1]
            assert_close(found[is_here, column], expected)


def test_an_unknown_p_value_counts_for_nothing(database, macros):
    found = adjusted(database, macros, [("a", "b", p) for p in (0.04, None, 0.01, None)])
    assert found == [(0.04, 0.04), (None, None), (0.02, 0.02), (None, None)]


# Nothing to compute ----------------------------------------------------------------------------

NULL = None
UNDEFINED = [
    ("normal_p", {"z": [1.0, NULL]}),
    ("normal_cdf", {"z": [1.0, NULL]}),
    ("normal_quantile", {"p": [0.1, NULL, 0.0, 1.0, -0.1, 1.1]}),
    (
        "student_p",
        {"t": [1.0, NULL, 1.0, 1.0, 1.0, 1.0], "nu": [1.0, 1.0, NULL, 0.99, -3.0, 1e101]},
    ),
    (
        "student_quantile",
        {"p": [0.1, NULL, 0.0, 1.0, 2.0, 0.1, 0.1], "nu": [1.0, 1.0, 1.0, 1.0, 1.0, NULL, 0.99]},
    ),
    ("chi_square_p", {"x": [1.0, NULL, 1.0, -1.0, 1.0, 1.0], "nu": [1, 1, NULL, 1, 0, 21]}),
    (
        "newcombe_lower",
        {
            "successes": [1, 0, 1, NULL],
            "trials": [2, 0, 2, 2],
            "control_successes": [1, 1, 0, 1],
            "control_trials": [2, 2, 0, 2],
        },
    ),
    (
        "ratio_variance",
        {
            "a": [1.0, 1.0, NULL],
            "variance_a": [1.0, 1.0, 1.0],
            "b": [1.0, 0.0, 1.0],
            "variance_b": [1.0, 1.0, 1.0],
        },
    ),
    ("sequence_margin", {"variance": [1.0, NULL, 1.0], "n": [1, 1, 0]}),
    (
        "sequence_p",
        {"estimate": [1.0, NULL, 1.0, 1.0], "variance": [1.0, 1.0, 0.0, 1.0], "n": [1, 1, 1, 0]},
    ),
    ("covariance", {"n": [2, 1, 0], "sum_a": [1, 1, 1], "sum_b": [1, 1, 1], "sum_ab": [1, 1, 1]}),
    (
        "theta",
        {
            "n": [2, 2, 0],
            "sum_y": [1, 1, NULL],
            "sum_x": [1, 2, NULL],
            "sum_squared_x": [1, 2, NULL],
            "sum_xy": [1, 2, NULL],
        },
    ),
]


@pytest.mark.parametrize(("name", "columns"), UNDEFINED, ids=[name for name, _ in UNDEFINED])
def test_what_cannot_be_computed_is_null(evaluate, name, columns):
    """The first row of each can."""
    known, *unknown = np.isnan(evaluate(name, **columns))
    assert not known
    assert all(unknown)
