"""The metrics in SQL, held against scikit-learn and scipy on the same rows.

Rows come from `int_labelled_predictions` and the contract tables; what they are compared with is
computed here from those rows alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import ONCE_MATURE
from helpers import TASKS, execute, fetch
from scipy.stats import binomtest, t, ttest_ind
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

BINARY = {task: entry for task, entry in TASKS.items() if entry["kind"] == "binary"}
KEYS = ["task", "model_version", "run_kind", "slice_name", "slice_value"]
DAILY = [*KEYS, "prediction_date"]
COUNTS = ["n_true_negatives", "n_false_positives", "n_false_negatives", "n_true_positives"]
EXACT = {"rtol": 0, "atol": 1e-9}


def frame(settings: Settings, query: str) -> pd.DataFrame:
    """Return the rows of a query, decimals as doubles."""
    with warehouse.connect(settings) as connection:
        cursor = connection.execute(query)
        rows = pd.DataFrame(cursor.fetchall(), columns=[c.name for c in cursor.description])
    is_decimal = [
        name for name in rows if rows[name].map(type).astype(str).str.contains("Decimal").any()
    ]
    return rows.astype(dict.fromkeys(is_decimal, float))


def scores_at_the_edges() -> list[float]:
    """Scores at 0 and 1, at the edges of bins, and one double beside them."""
    thousandths = np.arange(1001) / 1000
    tenths = np.arange(11) / 10
    beside = [*np.nextafter(tenths[1:], 0), *np.nextafter(tenths[1:-1], 1), 0.1 + 0.2, 0.7 + 0.1]
    return [0.0, 1.0, *thousandths, *np.repeat(beside, 10)]


@pytest.fixture(scope="module")
def scored(simulated: Settings, copy_database: Callable[[Settings, str], Settings]) -> Settings:
    """A copy with one more version, whose scores lie at the edges."""
    settings = copy_database(simulated, "oracle")
    execute(
        settings,
        "insert into scoring.predictions (task, model_version, run_kind, entity_id, as_of_at, "
        "score, threshold, attributes) "
        "select task, 'edges', 'live', entity_id, as_of_at, edges.score, threshold, attributes "
        "from unnest(cast(%s as float8[])) with ordinality as edges (score, number) "
        "join (select *, row_number() over (order by md5(entity_id)) as number "
        "from scoring.predictions where model_version = 'incumbent') as p using (number)",
        [scores_at_the_edges()],
    )
    run_dbt(settings, ["run", "--selector", "post"], ONCE_MATURE)
    return settings


@pytest.fixture(scope="module")
def mature(scored: Settings) -> pd.DataFrame:
    """One row per mature prediction and slice that it stands in."""
    rows = frame(
        scored,
        "select task, model_version, run_kind, prediction_date, attributes, arm, score, "
        "threshold, label from leadlight_intermediate.int_labelled_predictions "
        "where label_status = 'mature' and score is not null",
    )
    slices = [rows.assign(slice_name="all", slice_value="all")]
    for task, entry in BINARY.items():
        of_task = rows[rows["task"] == task]
        for name in entry.get("slices", ()):
            values = of_task["attributes"].map(lambda attributes, name=name: attributes.get(name))
            slices.append(of_task.assign(slice_name=name, slice_value=values.fillna("unknown")))
    assigned = rows[rows["arm"].notna()]
    slices.append(assigned.assign(slice_name="arm", slice_value=assigned["arm"]))
    return pd.concat(slices, ignore_index=True).astype({"label": int})


@pytest.fixture(scope="module")
def metrics(scored: Settings) -> pd.DataFrame:
    return frame(
        scored,
        "select * from leadlight_metrics.fct_classifier_metrics_daily "
        "join leadlight_metrics.fct_confusion_matrix_daily "
        f"using ({', '.join(KEYS)}, prediction_date, n_predictions, n_pending, n_mature)",
    ).set_index(DAILY)


def of_each(
    rows: pd.DataFrame, keys: list[str], oracle: Callable[[pd.DataFrame], dict[str, Any]]
) -> pd.DataFrame:
    """Apply an oracle to each group of rows."""
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        groups = {key: oracle(group) for key, group in rows.groupby(keys, sort=True)}
    index = pd.MultiIndex.from_tuples(groups, names=keys)
    return pd.DataFrame(list(groups.values()), index=index)


def assert_metrics(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Every column of the oracle is a column of the SQL, with the same rows and numbers."""
    found = found.sort_index()
    assert list(found.index) == list(expected.sort_index().index)
    expected = expected.sort_index()
    for name in expected:
        # NULL is where the oracle has no answer, and nowhere else.
        np.testing.assert_allclose(
            found[name].to_numpy(float),
            expected[name].to_numpy(float),
            **EXACT,
            equal_nan=True,
            err_msg=name,
        )


def classification(rows: pd.DataFrame) -> dict[str, Any]:
    label, score = rows["label"], rows["score"]
    predicted = (score >= rows["threshold"]).astype(int)
    precisions, recalls, f1_scores, _ = precision_recall_fscore_support(
        label, predicted, labels=[0, 1], zero_division=np.nan
    )
    has_both = label.nunique() == 2
    return {
        "n_mature": len(rows),
        "n_positives": label.sum(),
        **dict(zip(COUNTS, confusion_matrix(label, predicted, labels=[0, 1]).ravel(), strict=True)),
        "base_rate": label.mean(),
        "mean_score": score.mean(),
        "accuracy": accuracy_score(label, predicted),
        "precision": precisions[1],
        "recall": recalls[1],
        "specificity": recalls[0],
        # What the library says of one class alone is the recall of that class.
        "balanced_accuracy": balanced_accuracy_score(label, predicted) if has_both else np.nan,
        "f1_score": f1_scores[1],
        "brier_score": brier_score_loss(label, score, pos_label=1),
        "log_loss": log_loss(label, score, labels=[0, 1]),
    }


def binned(rows: pd.DataFrame, keys: list[str], n_bins: int) -> pd.DataFrame:
    """One row per group and bin that is not empty; edges k / n, half-open, the last one closed."""
    edges = np.arange(n_bins) / n_bins
    rows = rows.assign(bin=np.digitize(rows["score"], edges) - 1)
    return rows.groupby([*keys, "bin"]).agg(
        n_mature=("label", "size"),
        n_positives=("label", "sum"),
        mean_score=("score", "mean"),
        observed_rate=("label", "mean"),
    )


def calibration_errors(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    bins = binned(rows, keys, 10)
    bins["error"] = (bins["observed_rate"] - bins["mean_score"]).abs()
    bins["weighted"] = bins["error"] * bins["n_mature"]
    bins = bins.groupby(keys)
    return pd.DataFrame(
        {
            "expected_calibration_error": bins["weighted"].sum() / bins["n_mature"].sum(),
            "maximum_calibration_error": bins["error"].max(),
        }
    )


# Classification --------------------------------------------------------------------------------


def test_rows_are_many_and_of_every_kind(mature: pd.DataFrame) -> None:
    found = set(map(tuple, mature[KEYS[:3]].drop_duplicates().to_numpy()))
    assert found == {
        ("lead_conversion", "incumbent", "live"),
        ("lead_conversion", "edges", "live"),
        *((task, "v1", run_kind) for task in BINARY for run_kind in ("live", "backtest")),
    }
    slices = mature.groupby("task")["slice_name"].unique().map(set)
    assert slices.to_dict() == {
        task: {"all", *entry.get("slices", ())} | ({"arm"} if task == "lead_conversion" else set())
        for task, entry in BINARY.items()
    }
    assert (mature["slice_value"] == "unknown").any()
    of_all = mature[mature["slice_name"] == "all"]
    assert of_all.groupby("task").size().min() > 200
    is_edge = of_all["model_version"] == "edges"
    assert sorted(of_all["score"][is_edge]) == sorted(scores_at_the_edges())
    assert len(of_all) > 5000


@pytest.fixture(scope="module")
def compared(mature: pd.DataFrame) -> pd.DataFrame:
    """The rows of every day and of a fifth of its slices: the library takes its time."""
    number = mature.groupby(DAILY).ngroup()
    return mature[(mature["slice_name"] == "all") | (number % 5 == 0)]


def test_daily_metrics_are_those_of_scikit_learn(
    metrics: pd.DataFrame, mature: pd.DataFrame, compared: pd.DataFrame
) -> None:
    found = metrics[metrics["n_mature"] > 0]
    assert_metrics(found, mature.groupby(DAILY).size().to_frame("n_mature"))
    expected = of_each(compared, DAILY, classification)
    # Days of one class, and days without a positive prediction, are among them.
    assert expected["recall"].isna().any()
    assert expected["precision"].isna().any()
    assert_metrics(found.loc[expected.index], expected)


def test_counts_and_sums_add_up_to_the_metrics_of_the_whole_time(
    scored: Settings, mature: pd.DataFrame
) -> None:
    sums = ["n_mature", "n_positives", *COUNTS]
    sums += ["sum_score", "sum_squared_error", "sum_log_loss"]
    totals = frame(
        scored,
        f"select {', '.join(KEYS)}, {', '.join(f'sum({name}) as {name}' for name in sums)} "
        f"from leadlight_intermediate.int_classification_daily group by {', '.join(KEYS)}",
    ).set_index(KEYS)
    totals = totals[totals["n_mature"] > 0]
    for name, total in (
        ("mean_score", "sum_score"),
        ("brier_score", "sum_squared_error"),
        ("log_loss", "sum_log_loss"),
    ):
        totals[name] = totals[total] / totals["n_mature"]
    expected = of_each(mature, KEYS, classification)
    assert_metrics(
        totals,
        expected[["n_mature", "n_positives", *COUNTS, "mean_score", "brier_score", "log_loss"]],
    )


def test_calibration_bins(scored: Settings, mature: pd.DataFrame) -> None:
    found = frame(scored, "select * from leadlight_metrics.fct_calibration_daily")
    found = found.set_index([*DAILY, "calibration_bin"])
    assert_metrics(found, binned(mature, DAILY, 10))


def test_calibration_errors(metrics: pd.DataFrame, mature: pd.DataFrame) -> None:
    assert_metrics(metrics[metrics["n_mature"] > 0], calibration_errors(mature, DAILY))


def test_calibration_errors_of_the_whole_time(scored: Settings, mature: pd.DataFrame) -> None:
    found = frame(
        scored,
        f"""
        select
            {", ".join(KEYS)},
            sum(abs(n_positives - sum_score)) / sum(n_mature) as expected_calibration_error
        from (
            select {", ".join(KEYS)}, calibration_bin, sum(n_mature) as n_mature,
                sum(n_positives) as n_positives, sum(sum_score) as sum_score
            from leadlight_metrics.fct_calibration_daily
            group by {", ".join(KEYS)}, calibration_bin
        ) as bins
        group by {", ".join(KEYS)}
        """,
    ).set_index(KEYS)
    expected = calibration_errors(mature, KEYS)
    assert_metrics(found, expected[["expected_calibration_error"]])


def roc_auc(rows: pd.DataFrame) -> dict[str, Any]:
    has_both = rows["label"].nunique() == 2
    return {"roc_auc": roc_auc_score(rows["label"], rows["score"]) if has_both else np.nan}


def test_auc_is_within_the_published_bound(
    metrics: pd.DataFrame, mature: pd.DataFrame, compared: pd.DataFrame
) -> None:
    expected = of_each(compared, DAILY, roc_auc)["roc_auc"].sort_index()
    found = metrics.loc[expected.index]
    assert (found["roc_auc"].isna() == expected.isna()).all()
    known = expected.notna().to_numpy()
    error = (found["roc_auc"] - expected).abs()[known]
    assert (error <= found["roc_auc_error_bound"][known] + 1e-12).all()
    # The bound is needed, and as tight as it is said to be: a pair in one bin is a tie.
    assert error.max() > 1e-9
    bins = binned(mature, DAILY, 1000)
    bins["n_ties"] = bins["n_positives"] * (bins["n_mature"] - bins["n_positives"])
    sums = bins.groupby(DAILY)[["n_mature", "n_positives", "n_ties"]].sum()
    n_pairs = sums["n_positives"] * (sums["n_mature"] - sums["n_positives"])
    bound = sums["n_ties"] / (2 * n_pairs.where(n_pairs > 0))
    assert_metrics(metrics[metrics["n_mature"] > 0], bound.to_frame("roc_auc_error_bound"))


def test_tiny_scores_stop_no_build(
    scored: Settings, copy_database: Callable[[Settings, str], Settings]
) -> None:
    """Softmax and naive Bayes say such things, and the contract lets them in."""
    settings = copy_database(scored, "tiny")
    execute(
        settings,
        "insert into scoring.predictions (task, model_version, run_kind, entity_id, as_of_at, "
        "score, threshold) select task, 'tiny-' || tiny.score, 'live', entity_id, as_of_at, "
        "tiny.score, threshold from unnest(array[1e-200, 5e-324]::float8[]) as tiny (score), "
        "(select * from leadlight_intermediate.int_labelled_predictions "
        "where model_version = 'incumbent' and label = 0 order by 1 limit 20) as known",
    )
    run_dbt(settings, ["run", "--selector", "post"], ONCE_MATURE)
    errors = fetch(
        settings,
        "select sum(n_mature), max(brier_score), max(log_loss) "
        "from leadlight_metrics.fct_classifier_metrics_daily "
        "where starts_with(model_version, 'tiny') and slice_name = 'all'",
    )
    assert errors == [(40, 0, 0)]


# Experiments -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(scored: Settings) -> pd.DataFrame:
    """One row per assignment that has come of age: arm, orders in the horizon and their money."""
    assignments = frame(
        scored,
        "select experiment, entity_id, arm, assigned_at from scoring.assignments "
        "where assigned_at + interval '14 days' <= now()",
    )
    # From the landing table alone: the first valid delivery of each order.
    orders = frame(
        scored,
        """
        select distinct on (event_id) user_id as entity_id, occurred_at, amount
        from tracking.events
        where event_type = 'order_completed' and amount >= 0 and event_id is not null
            and user_id is not null and occurred_at <= loaded_at + interval '1 day'
        order by event_id, delivery_id
        """,
    )
    pairs = assignments.merge(orders, on="entity_id")
    is_inside = (pairs["occurred_at"] > pairs["assigned_at"]) & (
        pairs["occurred_at"] <= pairs["assigned_at"] + timedelta(days=14)
    )
    revenue = pairs[is_inside].groupby("entity_id")["amount"].agg(["size", "sum"])
    assignments = assignments.join(revenue, on="entity_id").fillna({"size": 0, "sum": 0})
    assignments["assignment_date"] = assignments["assigned_at"].dt.date
    return assignments.rename(columns={"size": "n_orders", "sum": "revenue"})


def newcombe(control: pd.Series, treated: pd.Series) -> dict[str, Any]:
    """Method 10 of Newcombe (1998): from the Wilson intervals of the two rates."""
    rates, lows, highs = [], [], []
    for outcome in (control, treated):
        test = binomtest(int((outcome > 0).sum()), len(outcome))
        interval = test.proportion_ci(0.95, method="wilson")
        rates.append(test.statistic)
        lows.append(interval.low)
        highs.append(interval.high)
    difference = rates[1] - rates[0]
    return {
        "conversion_rate": rates[1],
        "control_conversion_rate": rates[0],
        "conversion_difference": difference,
        "conversion_difference_lower": difference
        - np.hypot(rates[1] - lows[1], highs[0] - rates[0]),
        "conversion_difference_upper": difference
        + np.hypot(highs[1] - rates[1], rates[0] - lows[0]),
    }


def of_arms(rows: pd.DataFrame) -> dict[str, Any]:
    treated, control = (rows[rows["arm"] == arm] for arm in ("coupon", "control"))
    return {
        "n_mature": len(treated),
        "control_n_mature": len(control),
        "n_converted": (treated["n_orders"] > 0).sum(),
        "control_n_converted": (control["n_orders"] > 0).sum(),
        "sum_revenue": treated["revenue"].sum(),
        "control_sum_revenue": control["revenue"].sum(),
        **newcombe(control["n_orders"], treated["n_orders"]),
    }


def has_both_arms(rows: pd.DataFrame) -> bool:
    return rows["arm"].nunique() == 2


def test_uplift_is_newcombes(scored: Settings, outcomes: pd.DataFrame) -> None:
    found = frame(scored, "select * from leadlight_metrics.fct_coupon_uplift")
    expected = of_each(outcomes, ["experiment"], of_arms)
    expected.index = expected.index.get_level_values(0)
    assert_metrics(found.set_index("experiment"), expected)
    assert found["n_mature"].item() + found["control_n_mature"].item() == len(outcomes) > 900


def test_daily_uplift_is_newcombes(scored: Settings, outcomes: pd.DataFrame) -> None:
    found = frame(scored, "select * from leadlight_metrics.fct_coupon_uplift_daily")
    found = found.set_index(["experiment", "assignment_date"])
    grouped = outcomes.groupby(["experiment", "assignment_date"])
    expected = of_each(grouped.filter(has_both_arms), ["experiment", "assignment_date"], of_arms)
    assert len(expected) > 20
    assert_metrics(found.loc[expected.index], expected)
    # Where an arm has nobody there is nothing to compare.
    alone = found.drop(expected.index)
    assert alone["conversion_difference"].isna().all()
    assert alone["conversion_difference_lower"].isna().all()


def welch(rows: pd.DataFrame) -> dict[str, float]:
    treated, control = (rows["revenue"][rows["arm"] == arm] for arm in ("coupon", "control"))
    test = ttest_ind(treated, control, equal_var=False)
    interval = test.confidence_interval(0.95)
    return {"lower": interval.low, "upper": interval.high, "degrees_of_freedom": test.df}


def test_revenue_interval_is_welchs(scored: Settings, outcomes: pd.DataFrame) -> None:
    ((lower, upper, incremental_lower, n_mature),) = fetch(
        scored,
        "select revenue_difference_lower, revenue_difference_upper, incremental_revenue_lower, "
        "n_mature from leadlight_metrics.fct_coupon_uplift",
    )
    expected = welch(outcomes)
    assert [lower, upper] == pytest.approx([expected["lower"], expected["upper"]], rel=1e-6)
    assert incremental_lower == pytest.approx(n_mature * expected["lower"], rel=1e-6)


def test_daily_revenue_intervals_are_welchs(scored: Settings, outcomes: pd.DataFrame) -> None:
    found = frame(scored, "select * from leadlight_metrics.fct_coupon_uplift_daily")
    found = found.set_index(["experiment", "assignment_date"])
    grouped = outcomes.groupby(["experiment", "assignment_date"])
    compared = grouped.filter(
        lambda rows: (
            (rows["arm"].value_counts() > 1).sum() == 2
            and rows.groupby("arm")["revenue"].var().gt(0).all()
        )
    )
    expected = of_each(compared, ["experiment", "assignment_date"], welch)
    assert len(expected) > 15
    found = found.loc[expected.index]
    margin = (found["revenue_difference_upper"] - found["revenue_difference_lower"]) / 2
    exact = (expected["upper"] - expected["lower"]) / 2
    # The quantile is a series in 1 / degrees of freedom, cut off after the third power; where that
    # is not enough there is no interval.
    is_known = expected["degrees_of_freedom"] >= 5
    assert margin[~is_known].isna().all()
    error = (margin / exact - 1).abs()
    assert (error < 1 / expected["degrees_of_freedom"] ** 4)[is_known].all()
    assert is_known.sum() > 10


def test_relative_lift_is_by_the_delta_method(scored: Settings, outcomes: pd.DataFrame) -> None:
    ((lift, lower, upper),) = fetch(
        scored,
        "select relative_lift, relative_lift_lower, relative_lift_upper "
        "from leadlight_metrics.fct_coupon_uplift",
    )
    treated, control = (
        (outcomes["n_orders"][outcomes["arm"] == arm] > 0).astype(float)
        for arm in ("coupon", "control")
    )
    m_t, m_c, n_t, n_c = treated.mean(), control.mean(), len(treated), len(control)
    v_t, v_c = m_t * (1 - m_t) / n_t, m_c * (1 - m_c) / n_c
    degrees = (v_t + v_c) ** 2 / (v_t**2 / (n_t - 1) + v_c**2 / (n_c - 1))
    margin = t.ppf(0.975, degrees) * np.sqrt(v_t / m_c**2 + v_c * m_t**2 / m_c**4)
    expected = m_t / m_c - 1
    assert lift == pytest.approx(expected, abs=1e-9)
    assert [lower, upper] == pytest.approx([expected - margin, expected + margin], rel=1e-6)
