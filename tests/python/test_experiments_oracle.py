"""Every mart of an experiment, held against scipy, statsmodels and numpy on the same assignments.

The assignments and predictions are drawn here and put where a build would have put them, so that
what is compared is the statistics alone; how they come there is tested elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import fetch_dicts, histogram_edges
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.tools.tools import add_constant

from benchmarks.experiments import MODELS
from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

FIRST_DAY = date(2026, 1, 5)  # a Monday
N_DAYS, N_ROWS = 28, 9_000
MARGIN = 0.4
OFFERS = {"control": 0, "small": 5, "large": 10}
SHARES = {"control": 0.4, "small": 0.3, "large": 0.3}
EFFECTS = {"control": 0.0, "small": 0.02, "large": 0.05}
METRICS = ("conversion", "revenue", "margin", "net_money")
TASK = {
    "kind": "binary",
    "entity": "user",
    "outcome_event": "order_completed",
    "label_rule": "occurs",
    "horizon_days": 3,
    "default_threshold": 0.3,
    "slices": ["device"],
    "features_model": "fct_lead_conversion_features",
}
EXPERIMENT = {
    "task": "orders",
    "entity": "user",
    "eligible": "score_below_threshold",
    "salt": "oracle",
    "control_arm": "control",
    "arms": {arm: {"share": SHARES[arm], "offer_amount": OFFERS[arm]} for arm in SHARES},
    "outcome_event": "order_completed",
    "offered_event": "coupon_offered",
    "redeemed_event": "coupon_redeemed",
    "guardrails": {"left": "rise"},
    "covariates": ["visits"],
    "horizon_days": 3,
    "margin": MARGIN,
}
VARIABLES = yaml.safe_dump(
    {
        "prediction_tasks": {"orders": TASK},
        "experiments": {"coupons": EXPERIMENT},
    }
)
JUMP, BANDWIDTH = 0.2, 0.1


def draw_assignments() -> pd.DataFrame:
    """One row per assignment; a tenth is pending, some scores and covariates are missing."""
    rng = np.random.default_rng(20_260_105)
    score = np.round(0.3 * rng.beta(1.2, 1.5, N_ROWS), 6)
    arm = rng.choice(list(SHARES), N_ROWS, p=list(SHARES.values()))
    visits = rng.poisson(2 + 20 * score)
    is_offered = (arm != "control") & (rng.random(N_ROWS) < 0.9)
    is_offered |= (arm == "control") & (rng.random(N_ROWS) < 0.03)
    effect = np.array([EFFECTS[name] for name in arm]) * is_offered
    converts = rng.random(N_ROWS) < 0.8 * score + 0.01 * visits + effect
    worth = np.round(rng.lognormal(3.5, 0.6, N_ROWS), 2)
    offer = np.array([OFFERS[name] for name in arm])
    redeemed = np.where(converts & is_offered & (rng.random(N_ROWS) < 0.8), offer, 0)
    frame = pd.DataFrame(
        {
            "arm": arm,
            "device": rng.choice(["mobile", "desktop", "tablet"], N_ROWS, p=[0.6, 0.3, 0.1]),
            "score": np.where(rng.random(N_ROWS) < 0.02, np.nan, score),
            "visits": np.where(rng.random(N_ROWS) < 0.05, np.nan, visits),
            "day": rng.integers(0, N_DAYS, N_ROWS),
            "is_mature": rng.random(N_ROWS) < 0.9,
            "is_exposed_before": rng.random(N_ROWS) < 0.002,
            "converts": converts.astype(int),
            "is_offered": is_offered.astype(int),
            "offer": offer,
            "redeemed": redeemed.astype(float),
            "revenue": np.where(converts, np.round(worth - redeemed, 2).clip(0), 0),
            "leaves": rng.random(N_ROWS) < np.where(arm == "large", 0.09, 0.05),
        }
    )
    return frame.assign(
        conversion=frame["converts"].astype(float),
        margin=MARGIN * (frame["revenue"] + frame["redeemed"]),
        net_money=MARGIN * (frame["revenue"] + frame["redeemed"]) - frame["redeemed"],
        date=[FIRST_DAY + timedelta(days=int(day)) for day in frame["day"]],
    )


def draw_predictions() -> pd.DataFrame:
    """One row per prediction around the threshold, where the large coupon adds a known jump."""
    rng = np.random.default_rng(7)
    n = 20_000
    score = np.round(rng.uniform(0.1, 0.5, n), 6)
    arm = np.where(score < 0.3, rng.choice(list(SHARES), n, p=list(SHARES.values())), "")
    rate = score + np.where(arm == "large", JUMP, 0) + np.where(arm == "small", JUMP / 2, 0)
    return pd.DataFrame({"score": score, "arm": arm, "label": (rng.random(n) < rate).astype(float)})


@pytest.fixture(scope="module")
def assignments() -> pd.DataFrame:
    return draw_assignments()


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return draw_predictions()


@pytest.fixture(scope="module")
def mature(assignments: pd.DataFrame) -> pd.DataFrame:
    return assignments[assignments["is_mature"]]


@pytest.fixture(scope="module")
def built(
    make_database: Callable[[str], Settings],
    assignments: pd.DataFrame,
    predictions: pd.DataFrame,
) -> Settings:
    settings = make_database("experiments_oracle")
    run_dbt(settings, ["seed"], VARIABLES)
    run_dbt(settings, ["run", "--select", "+int_labelled_assignments"], VARIABLES)
    with warehouse.connect(settings) as connection:
        fill(connection, "int_labelled_assignments", labelled_assignments(assignments))
        fill(connection, "int_labelled_predictions", labelled_predictions(predictions))
    dimensions = ("dim_experiments", "dim_experiment_arms", "int_experiment_questions")
    discontinuity = ("int_discontinuity_daily", "fct_discontinuity")
    selected = (*dimensions, *MODELS, *discontinuity)
    run_dbt(settings, ["run", "--full-refresh", "--select", *selected], VARIABLES)
    return settings


def fill(connection: Any, table: str, rows: list[dict[str, Any]]) -> None:
    warehouse.copy_rows(
        connection,
        f"leadlight_intermediate.{table}",
        list(rows[0]),
        (tuple(row.values()) for row in rows),
    )


def labelled_assignments(frame: pd.DataFrame) -> list[dict[str, Any]]:
    def if_mature(row: Any, value: Any) -> Any:
        return value if row.is_mature else None

    return [
        {
            "assignment_id": str(number),
            "entity_id": f"user-{number}",
            "person_id": f"user-{number}",
            "experiment": "coupons",
            "arm": row.arm,
            "task": "orders",
            "label_status": "mature" if row.is_mature else "pending",
            "guardrail_events": if_mature(row, '["left"]' if row.leaves else None),
            "attributes": json.dumps({"device": row.device}),
            "covariates": json.dumps({"visits": None if np.isnan(row.visits) else row.visits}),
            "offer_amount": row.offer,
            "score": None if np.isnan(row.score) else row.score,
            "n_outcomes": if_mature(row, row.converts),
            "outcome_amount": if_mature(row, row.revenue),
            "n_offered": if_mature(row, row.is_offered),
            "n_redeemed": if_mature(row, int(row.redeemed > 0)),
            "redeemed_amount": if_mature(row, row.redeemed),
            "is_exposed_before": row.is_exposed_before,
            "assignment_date": row.date,
            "change_number": 1,
        }
        for number, row in enumerate(frame.itertuples())
    ]


def labelled_predictions(frame: pd.DataFrame) -> list[dict[str, Any]]:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return [
        {
            "prediction_id": f"00000000-0000-0000-0000-{number:012d}",
            "entity_id": f"user-{number}",
            "task": "orders",
            "model_version": "v1",
            "run_kind": "live",
            "arm": f"coupons:{row.arm}" if row.arm else None,
            "label_status": "mature",
            "score": row.score,
            "threshold": 0.3,
            "label": row.label,
            "prediction_date": FIRST_DAY + timedelta(days=number % 7),
            "as_of_at": at,
            "change_number": 1,
        }
        for number, row in enumerate(frame.itertuples())
    ]


def one(settings: Settings, mart: str, **key: Any) -> dict[str, Any]:
    """Return the one row of a mart with a key."""
    where = " and ".join(f"{name} = %({name})s" for name in key)
    query = f"select * from leadlight_metrics.{mart} where {where}"
    (row,) = fetch_dicts(settings, query, key)
    return row


def close(found: Any, expected: Any, rel: float = 1e-9) -> None:
    assert found == pytest.approx(expected, rel=rel, abs=1e-12)


# The difference as it is -------------------------------------------------------------------------


def variance_of_mean(values: pd.Series, metric: str) -> float:
    return values.var(ddof=0 if metric == "conversion" else 1) / len(values)


def assert_comparison(
    row: dict[str, Any], rows: pd.DataFrame, control: pd.DataFrame, metric: str
) -> None:
    """A row of a mart says of two arms what scipy and statsmodels say."""
    y, y_c = rows[metric], control[metric]
    n, n_c, m, m_c = len(y), len(y_c), y.mean(), y_c.mean()
    assert (row["n_mature"], row["control_n_mature"]) == (n, n_c)
    close([row["mean"], row["control_mean"], row["difference"]], [m, m_c, m - m_c])
    v, v_c = variance_of_mean(y, metric), variance_of_mean(y_c, metric)
    degrees = (v + v_c) ** 2 / (v**2 / (n - 1) + v_c**2 / (n_c - 1))
    t = stats.t.ppf(0.975, degrees)
    close(row["standard_error"], np.sqrt(v + v_c))
    close(row["p_value"], 2 * stats.t.sf(abs(m - m_c) / np.sqrt(v + v_c), degrees))
    if metric == "conversion":
        low, high = confint_proportions_2indep(
            int(y.sum()), n, int(y_c.sum()), n_c, method="newcomb", compare="diff"
        )
    else:
        test = stats.ttest_ind(y, y_c, equal_var=False)
        low, high = test.confidence_interval(0.95)
        close(row["p_value"], test.pvalue)
    close([row["difference_lower"], row["difference_upper"]], [low, high])
    margin = t * np.sqrt(v / m_c**2 + v_c * m**2 / m_c**4)
    close(row["relative_lift"], m / m_c - 1)
    close(row["relative_lift_lower"], m / m_c - 1 - margin)
    close(row["relative_lift_upper"], m / m_c - 1 + margin)
    # arXiv 2103.06476, tuned for 5,000.
    a, total = 0.05, n + n_c
    rho2 = (-2 * np.log(a) + np.log(1 - 2 * np.log(a))) / 5000
    half = np.sqrt((v + v_c) * total) * np.sqrt(
        2 * (total * rho2 + 1) * np.log(np.sqrt(total * rho2 + 1) / a) / (total**2 * rho2)
    )
    close([row["always_valid_lower"], row["always_valid_upper"]], [m - m_c - half, m - m_c + half])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("arm", ["small", "large"])
def test_intention_to_treat(
    built: Settings, assignments: pd.DataFrame, mature: pd.DataFrame, arm: str, metric: str
) -> None:
    slices = {"all": "all", **{device: "device" for device in ("mobile", "desktop", "tablet")}}
    for value, name in slices.items():
        rows = mature if name == "all" else mature[mature["device"] == value]
        row = one(
            built,
            "fct_coupon_uplift",
            arm=arm,
            metric=metric,
            slice_name=name,
            slice_value=value,
        )
        assert_comparison(row, rows[rows["arm"] == arm], rows[rows["arm"] == "control"], metric)
    everybody = assignments[assignments["arm"] == arm]
    row = one(built, "fct_coupon_uplift", arm=arm, metric=metric, slice_name="all")
    assert row["n_assigned"] == len(everybody)
    assert row["n_pending"] == (~everybody["is_mature"]).sum() > 100


def test_days_weeks_and_all_up_to_a_day(built: Settings, mature: pd.DataFrame) -> None:
    large = {"arm": "large", "metric": "net_money", "slice_name": "all"}
    for day in (0, 13, 27):
        at = FIRST_DAY + timedelta(days=day)
        for window, rows in (
            ("day", mature[mature["day"] == day]),
            ("to_date", mature[mature["day"] <= day]),
        ):
            key = large | {"assignment_date": at, "window_name": window}
            row = one(built, "fct_coupon_uplift_daily", **key)
            of_arm = (rows[rows["arm"] == arm] for arm in ("large", "control"))
            assert_comparison(row, *of_arm, "net_money")
    for week in range(4):
        value = str(FIRST_DAY + timedelta(weeks=week))
        rows = mature[mature["day"] // 7 == week]
        key = large | {"slice_name": "assignment_week", "slice_value": value}
        of_arm = (rows[rows["arm"] == arm] for arm in ("large", "control"))
        assert_comparison(one(built, "fct_coupon_uplift", **key), *of_arm, "net_money")


def with_deciles(mature: pd.DataFrame) -> pd.DataFrame:
    """Add the bin of the score, and the tenth that the middle of the bin's people belongs to."""
    scored = mature[mature["score"].notna()]
    edges = histogram_edges()
    scored = scored.assign(bin=np.searchsorted(edges, scored["score"], side="right") - 1)
    sizes = scored.groupby("bin").size()
    middle = sizes.cumsum() - sizes / 2
    decile = (1 + np.floor(10 * middle / sizes.sum()).clip(upper=9)).astype(int)
    return scored.assign(decile=scored["bin"].map(decile))


def test_uplift_by_decile(built: Settings, mature: pd.DataFrame) -> None:
    scored = with_deciles(mature)
    sizes = scored.groupby("decile").size()
    assert len(sizes) == 10 and sizes.between(0.08 * len(scored), 0.12 * len(scored)).all()
    for decile, rows in scored.groupby("decile"):
        key = {"slice_name": "score_decile", "slice_value": str(decile), "metric": "conversion"}
        row = one(built, "fct_coupon_uplift", arm="large", **key)
        of_arm = (rows[rows["arm"] == arm] for arm in ("large", "control"))
        assert_comparison(row, *of_arm, "conversion")


def test_many_slices_are_corrected_together(built: Settings) -> None:
    rows = pd.DataFrame(
        fetch_dicts(
            built,
            "select * from leadlight_metrics.fct_coupon_uplift order by slice_name, metric",
        )
    )
    for _, group in rows.groupby(["slice_name", "metric"]):
        for column, method in (("p_value_holm", "holm"), ("p_value_bh", "fdr_bh")):
            _, adjusted, *_ = multipletests(group["p_value"], method=method)
            np.testing.assert_allclose(group[column], adjusted, rtol=1e-9)
    assert rows.groupby(["slice_name", "metric"]).size().max() == 20


# Estimators of less variance ---------------------------------------------------------------------


def assert_estimate(
    row: dict[str, Any], difference: float, v: float, v_c: float, degrees: float, plain: float
) -> None:
    t = stats.t.ppf(0.975, degrees)
    close(row["difference"], difference)
    close(row["standard_error"], np.sqrt(v + v_c))
    close(row["difference_lower"], difference - t * np.sqrt(v + v_c))
    close(row["difference_upper"], difference + t * np.sqrt(v + v_c))
    close(row["variance_ratio"], plain / (v + v_c))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("covariate", ["score", "visits"])
def test_cuped(built: Settings, mature: pd.DataFrame, covariate: str, metric: str) -> None:
    rows = mature[mature["arm"].isin(["large", "control"])]
    # Who has no value stands at the mean.
    x = rows[covariate].fillna(rows[covariate].mean())
    y = rows[metric]
    theta = np.cov(x, y)[0, 1] / x.var()
    adjusted = y - theta * (x - x[rows["arm"] == "control"].mean())
    large, control = (adjusted[rows["arm"] == arm] for arm in ("large", "control"))
    v, v_c = large.var() / len(large), control.var() / len(control)
    degrees = (v + v_c) ** 2 / (v**2 / (len(large) - 1) + v_c**2 / (len(control) - 1))
    plain = sum(
        y[rows["arm"] == arm].var() / (rows["arm"] == arm).sum() for arm in ("large", "control")
    )
    key = {"arm": "large", "metric": metric, "estimator": f"cuped_{covariate}"}
    row = one(built, "fct_experiment_estimates", **key)
    assert_estimate(row, large.mean() - control.mean(), v, v_c, degrees, plain)
    assert row["n_mature"] == len(large)
    if metric == "conversion":
        assert row["variance_ratio"] > 1.01


@pytest.mark.parametrize("metric", METRICS)
def test_post_stratification(built: Settings, mature: pd.DataFrame, metric: str) -> None:
    scored = with_deciles(mature)
    scored = scored[scored["arm"].isin(["large", "control"])]
    weights = scored.groupby("decile").size() / len(scored)
    strata = scored.groupby(["decile", "arm"])[metric].agg(["mean", "var", "size"]).unstack()
    v_k = strata["var"] / strata["size"]
    difference = (weights * (strata["mean"]["large"] - strata["mean"]["control"])).sum()
    v, v_c = ((weights**2 * v_k[arm]).sum() for arm in ("large", "control"))
    degrees = (v + v_c) ** 2 / sum(
        (weights**4 * v_k[arm] ** 2 / (strata["size"][arm] - 1)).sum()
        for arm in ("large", "control")
    )
    plain = sum(
        rows[metric].var() / len(rows)
        for arm, rows in mature.groupby("arm")
        if arm in ("large", "control")
    )
    key = {"arm": "large", "metric": metric, "estimator": "post_stratified"}
    row = one(built, "fct_experiment_estimates", **key)
    assert_estimate(row, difference, v, v_c, degrees, plain)


# Money, compliance, guardrails -------------------------------------------------------------------


def test_money(built: Settings, mature: pd.DataFrame) -> None:
    for arm in ("small", "large"):
        rows, control = (mature[mature["arm"] == name] for name in (arm, "control"))
        row = one(built, "fct_coupon_money", arm=arm)
        n = len(rows)
        assert row["n_redeemed"] == (rows["redeemed"] > 0).sum()
        close(float(row["sum_redeemed"]), rows["redeemed"].sum())
        close(row["incremental_revenue"], n * (rows["revenue"].mean() - control["revenue"].mean()))
        net = stats.ttest_ind(rows["net_money"], control["net_money"], equal_var=False)
        low, high = net.confidence_interval(0.95)
        close([row["net_money_lower"], row["net_money_upper"]], [n * low, n * high])
        # A ratio of means has the variance of numerator less ratio times denominator.
        cost = rows["redeemed"].mean()
        ratio = (rows["net_money"].mean() - control["net_money"].mean()) / cost
        variance = (rows["net_money"] - ratio * rows["redeemed"]).var() / n
        variance += control["net_money"].var() / len(control)
        margin = stats.norm.ppf(0.975) * np.sqrt(variance) / cost
        close(row["return_on_coupon_spend"], ratio)
        close(row["return_on_coupon_spend_lower"], ratio - margin)
        close(row["return_on_coupon_spend_upper"], ratio + margin)
        close(row["break_even_offer"], OFFERS[arm] * (1 + ratio))


def test_effect_on_those_who_were_offered(built: Settings, mature: pd.DataFrame) -> None:
    control = mature[mature["arm"] == "control"]
    rows = mature[mature["arm"] == "large"]
    row = one(built, "fct_coupon_compliance", arm="large")
    reached = rows["is_offered"].mean() - control["is_offered"].mean()
    effect = (rows["conversion"].mean() - control["conversion"].mean()) / reached
    variance = sum(
        (arm["conversion"] - effect * arm["is_offered"]).var() / len(arm) for arm in (rows, control)
    )
    margin = stats.norm.ppf(0.975) * np.sqrt(variance) / reached
    close(row["effect_on_offered"], effect)
    close(
        [row["effect_on_offered_lower"], row["effect_on_offered_upper"]],
        [effect - margin, effect + margin],
        rel=1e-3,
    )
    spoilt = one(built, "fct_coupon_compliance", arm="control")
    assert spoilt["n_contaminated"] == control["is_offered"].sum() > 50


def test_guardrails(built: Settings, mature: pd.DataFrame) -> None:
    control = mature["leaves"][mature["arm"] == "control"]
    harmed = {}
    for arm in ("small", "large"):
        leaves = mature["leaves"][mature["arm"] == arm]
        row = one(built, "fct_experiment_guardrails", arm=arm)
        low, high = confint_proportions_2indep(
            int(leaves.sum()),
            len(leaves),
            int(control.sum()),
            len(control),
            method="newcomb",
            compare="diff",
        )
        close([row["difference_lower"], row["difference_upper"]], [low, high])
        harmed[arm] = row["is_harmed"]
    assert harmed == {"small": False, "large": True}


# Trust -------------------------------------------------------------------------------------------


def test_checks(built: Settings, assignments: pd.DataFrame, mature: pd.DataFrame) -> None:
    sizes = assignments["arm"].value_counts()
    expected = [len(assignments) * SHARES[arm] for arm in sizes.index]
    row = one(built, "fct_experiment_checks", check_name="sample_ratio")
    close(row["value"], stats.chisquare(sizes, expected).pvalue)
    assert row["is_passed"]
    rows, control = (mature["visits"][mature["arm"] == arm] for arm in ("small", "control"))
    key = {"check_name": "covariate_balance", "subject": "visits", "arm": "small"}
    row = one(built, "fct_experiment_checks", **key)
    close(row["value"], (rows.mean() - control.mean()) / np.sqrt((rows.var() + control.var()) / 2))
    # The control arm was not kept clean, which every arm is told of.
    row = one(built, "fct_experiment_checks", check_name="control_kept_clean")
    assert not row["is_passed"]
    for uplift in fetch_dicts(built, "select * from leadlight_metrics.fct_coupon_uplift"):
        assert not uplift["is_trustworthy"]
        assert "were offered a coupon" in uplift["untrustworthy_because"]


# Whom to target ----------------------------------------------------------------------------------


def uplift_areas(score: np.ndarray, y: np.ndarray, treated: np.ndarray) -> tuple[float, float]:
    """Qini coefficient and AUUC, from scikit-uplift's definitions, written anew."""

    def curve(order_by: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(-order_by, kind="stable")
        s, t, o = order_by[order], treated[order], y[order]
        ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
        n_t, n_c = np.cumsum(t)[ends], np.cumsum(1 - t)[ends]
        y_t, y_c = np.cumsum(o * t)[ends], np.cumsum(o * (1 - t))[ends]
        zeros = np.zeros(len(ends))
        rate_c = np.divide(y_c, n_c, out=zeros.copy(), where=n_c > 0)
        rate_t = np.divide(y_t, n_t, out=zeros.copy(), where=n_t > 0)
        values = y_t - rate_c * n_t if kind == "qini" else (rate_t - rate_c) * (n_t + n_c)
        return np.append(0, n_t + n_c), np.append(0, values)

    def area(kind: str, best: np.ndarray) -> float:
        x, values = curve(score, kind)
        chance = x[-1] * values[-1] / 2
        perfect = np.trapezoid(*curve(best, kind)[::-1])
        return (np.trapezoid(values, x) - chance) / (perfect - chance)

    responders_c = (y * (1 - treated)).sum()
    others_t = ((1 - y) * treated).sum()
    best_uplift = 2 * (y == treated) + (y if responders_c > others_t else treated)
    return area("qini", y * treated - y * (1 - treated)), area("uplift", best_uplift)


def test_targeting(built: Settings, mature: pd.DataFrame) -> None:
    scored = with_deciles(mature)
    scored = scored[scored["arm"].isin(["large", "control"])]
    treated = (scored["arm"] == "large").to_numpy().astype(int)
    bins, y = scored["bin"].to_numpy().astype(float), scored["converts"].to_numpy()
    for ranking, order in (("highest_first", bins), ("lowest_first", -bins)):
        row = one(built, "fct_targeting", arm="large", ranking=ranking)
        qini, auuc = uplift_areas(order, y, treated)
        close([row["qini_coefficient"], row["auuc"]], [qini, auuc])
        curve = fetch_dicts(
            built,
            "select * from leadlight_metrics.fct_uplift_curve "
            "where arm = 'large' and ranking = %s order by place",
            [ranking],
        )
        assert len(curve) == len(set(bins)) + 1
        for point in curve[1:]:
            is_in = scored["score"] >= point["threshold"]
            if ranking == "lowest_first":
                is_in = scored["score"] < point["threshold"]
            rows = scored[is_in]
            large, control = (rows[rows["arm"] == arm] for arm in ("large", "control"))
            assert (point["n_treated"], point["n_control"]) == (len(large), len(control))
            if min(len(large), len(control)) < 2:
                continue
            share = len(rows) / len(scored)
            net = share * (large["net_money"].mean() - control["net_money"].mean())
            close(point["net_per_lead"], net)
            error = np.sqrt(sum(arm["net_money"].var() / len(arm) for arm in (large, control)))
            if error == 0:
                assert point["net_per_lead_upper"] is None
                continue
            close(point["net_per_lead_upper"] - net, stats.norm.ppf(0.975) * share * error)
        best = max(curve, key=lambda point: point["net_per_lead"] or -np.inf)
        assert best["is_best"] and row["best_threshold"] == best["threshold"]
        close(row["best_net_per_lead"], best["net_per_lead"])
        top = next(point for point in curve if point["share_targeted"] >= 0.2)
        close(row["uplift_at_20"], top["conversion_difference"])
        close(row["everybody_net_per_lead"], curve[-1]["net_per_lead"])


# Without a holdout -------------------------------------------------------------------------------


def test_discontinuity_finds_the_jump(built: Settings, predictions: pd.DataFrame) -> None:
    near = predictions[(predictions["score"] - 0.3).abs() <= BANDWIDTH]
    fits = {}
    for side, rows in (("below", near[near["arm"] == "large"]), ("above", near[near["arm"] == ""])):
        design = add_constant((rows["score"] - 0.3).to_numpy())
        fits[side] = OLS(rows["label"].to_numpy(), design).fit(cov_type="HC1")
    row = one(built, "fct_discontinuity", experiment="coupons", arm="large")
    jump = fits["below"].params[0] - fits["above"].params[0]
    error = np.hypot(fits["below"].bse[0], fits["above"].bse[0])
    close(row["difference"], jump, rel=1e-7)
    close(row["standard_error"], error, rel=1e-7)
    assert row["difference_lower"] < JUMP < row["difference_upper"]
    assert row["bandwidth"] == BANDWIDTH
    # Beside it, what the randomised arms say.
    uplift = one(built, "fct_coupon_uplift", arm="large", metric="conversion", slice_name="all")
    assert row["experiment_difference"] == uplift["difference"]
