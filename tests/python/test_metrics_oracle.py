"""The metrics in SQL, held against scikit-learn and scipy on the same rows.

Rows come from `int_labelled_predictions` and the contract tables; what they are compared with is
computed here from those rows alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import ONCE_MATURE
from helpers import fetch, histogram_edges
from scipy.stats import binomtest, ks_2samp, norm, ttest_ind
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

KEYS = ["task", "model_version", "run_kind", "slice_name", "slice_value"]
COUNTS = ["n_true_negatives", "n_false_positives", "n_false_negatives", "n_true_positives"]
DAY = [*KEYS, "prediction_date"]
WINDOW = [*KEYS, "window_name"]
EXACT = {"rtol": 0, "atol": 1e-9}


EDGES = histogram_edges()


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
    with warehouse.connect(settings) as connection:
        connection.execute(
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
    rows["score_bin"] = np.searchsorted(EDGES, rows["score"], side="right") - 1
    slices = [rows.assign(slice_name="all", slice_value="all")]
    for task, names in fetch(
        scored, "select task, slices from leadlight_shared.dim_prediction_tasks"
    ):
        of_task = rows[rows["task"] == task]
        for name in names:
            values = of_task["attributes"].map(
                lambda attributes, name=name: attributes.get(name, "unknown") or "unknown"
            )
            slices.append(of_task.assign(slice_name=name, slice_value=values))
    assigned = rows[rows["arm"].notna()]
    slices.append(assigned.assign(slice_name="arm", slice_value=assigned["arm"]))
    return pd.concat(slices, ignore_index=True).astype({"label": int})


@pytest.fixture(scope="module")
def windowed(scored: Settings, mature: pd.DataFrame) -> pd.DataFrame:
    """One row per mature prediction, slice and window that it stands in.

    The newest day of age is told from the predictions themselves: no label of it is pending.
    """
    days = frame(
        scored,
        "select task, run_kind, prediction_date, bool_and(label_status = 'mature') as is_of_age "
        "from leadlight_intermediate.int_labelled_predictions where score is not null "
        "group by 1, 2, 3",
    )
    newest = days[days["is_of_age"]].groupby(["task", "run_kind"])["prediction_date"].max()
    rows = mature.join(newest.rename("newest"), on=["task", "run_kind"])
    age = (pd.to_datetime(rows["newest"]) - pd.to_datetime(rows["prediction_date"])).dt.days
    windows = [rows.assign(window_name="all_time")]
    for name, n_days in (("last_day", 1), ("last_7_days", 7), ("last_28_days", 28)):
        windows.append(rows[(age >= 0) & (age < n_days)].assign(window_name=name))
    return pd.concat(windows, ignore_index=True)


@pytest.fixture(scope="module")
def metrics(scored: Settings) -> pd.DataFrame:
    return frame(
        scored,
        "select * from leadlight_metrics.fct_classifier_metrics_daily "
        "join leadlight_metrics.fct_confusion_matrix_daily "
        f"using ({', '.join(DAY)}, n_predictions, n_pending, n_mature, {', '.join(COUNTS)})",
    ).set_index(DAY)


@pytest.fixture(scope="module")
def window_metrics(scored: Settings) -> pd.DataFrame:
    found = frame(scored, "select * from leadlight_metrics.fct_classifier_metrics")
    return found.set_index(WINDOW)


def of_each(
    rows: pd.DataFrame, keys: list[str], oracle: Callable[[pd.DataFrame], dict[str, Any]]
) -> pd.DataFrame:
    """Apply an oracle to each group of rows."""
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        groups = {key: oracle(group) for key, group in rows.groupby(keys, sort=True)}
    index = pd.MultiIndex.from_tuples(groups, names=keys)
    return pd.DataFrame(list(groups.values()), index=index)


def assert_metrics(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Every column of the oracle is a column of the SQL, with the same rows and numbers.

    Where an oracle gives `<name>_rounding`, the SQL adds up rounded terms that divide something
    small, and may be off by so much more.
    """
    found = found.sort_index()
    assert list(found.index) == list(expected.sort_index().index)
    expected = expected.sort_index()
    for name in expected.columns.drop(list(expected.filter(regex="_rounding$"))):
        actual, desired = found[name].to_numpy(float), expected[name].to_numpy(float)
        rounding = expected.get(f"{name}_rounding", pd.Series(0, expected.index)).fillna(0)
        # NULL is where the oracle has no answer, and nowhere else.
        off = ~(np.abs(actual - desired) <= EXACT["atol"] + rounding.to_numpy(float))
        off &= ~(np.isnan(actual) & np.isnan(desired))
        assert not off.any(), (
            f"{name}: {off.sum()} of {len(off)} differ, such as {expected.index[off][0]}: "
            f"{actual[off][0]} is not {desired[off][0]}"
        )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson interval of a share; NaN without trials."""
    if trials == 0:
        return np.nan, np.nan
    interval = binomtest(int(successes), int(trials)).proportion_ci(0.95, method="wilson")
    return interval.low, interval.high


def classification(rows: pd.DataFrame) -> dict[str, Any]:
    label, score = rows["label"], rows["score"]
    predicted = (score >= rows["threshold"]).astype(int)
    precisions, recalls, f1_scores, _ = precision_recall_fscore_support(
        label, predicted, labels=[0, 1], zero_division=np.nan
    )
    has_both = label.nunique() == 2
    counts = confusion_matrix(label, predicted, labels=[0, 1]).ravel()
    true_positives = counts[3]
    precision_lower, precision_upper = wilson(true_positives, predicted.sum())
    recall_lower, recall_upper = wilson(true_positives, label.sum())
    # Spiegelhalter (1986), from the rows.
    deviation = ((label - score) * (1 - 2 * score)).sum()
    variance = ((1 - 2 * score) ** 2 * score * (1 - score)).sum()
    z = deviation / np.sqrt(variance) if variance > 1e-9 else np.nan
    return {
        "n_mature": len(rows),
        "n_positives": label.sum(),
        **dict(zip(COUNTS, counts, strict=True)),
        "precision_lower": precision_lower,
        "precision_upper": precision_upper,
        "recall_lower": recall_lower,
        "recall_upper": recall_upper,
        # The library says 0 where there is nothing to correlate.
        "matthews_correlation": matthews_corrcoef(label, predicted)
        if has_both and predicted.nunique() == 2
        else np.nan,
        "spiegelhalter_z": z,
        # Each of its sums is of terms rounded to trillionths: of n rows, 2.5 n trillionths above
        # the line, and nine n below the root.
        "spiegelhalter_z_rounding": len(rows)
        * (2.5e-12 / np.sqrt(variance) + 4.5e-12 * abs(z) / variance),
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


def delong_variance(label: np.ndarray, score: np.ndarray) -> float:
    """The variance of the area, from the placement of every pair (DeLong et al. 1988)."""
    positives, negatives = score[label == 1], score[label == 0]
    if min(len(positives), len(negatives)) < 2:
        return np.nan
    pairs = positives[:, None] - negatives[None, :]
    kernel = (pairs > 0) + 0.5 * (pairs == 0)
    return kernel.mean(1).var(ddof=1) / len(positives) + kernel.mean(0).var(ddof=1) / len(negatives)


def ranking(rows: pd.DataFrame) -> dict[str, Any]:
    """What the order of the scores tells, those of one bin tied."""
    label, score = rows["label"].to_numpy(), rows["score_bin"].to_numpy()
    has_both = len(set(label)) == 2
    auc = roc_auc_score(label, score) if has_both else np.nan
    margin = norm.ppf(0.975) * np.sqrt(delong_variance(label, score))
    # The tenth with the highest scores; of the bin that its end divides, a part.
    by_bin = rows.groupby("score_bin")["label"].agg(["size", "sum"]).sort_index(ascending=False)
    end = np.arange(0, 2) * len(rows) / 10
    caught = np.interp(end[1], [0, *by_bin["size"].cumsum()], [0, *by_bin["sum"].cumsum()])
    return {
        "roc_auc": auc,
        "roc_auc_lower": max(0, auc - margin) if margin > 0 else np.nan,
        "roc_auc_upper": min(1, auc + margin) if margin > 0 else np.nan,
        "average_precision": average_precision_score(label, score) if label.any() else np.nan,
        "ks_statistic": ks_2samp(score[label == 1], score[label == 0]).statistic
        if has_both
        else np.nan,
        "top_decile_lift": 10 * caught / label.sum() if label.any() else np.nan,
    }


def brier_parts(rows: pd.DataFrame) -> dict[str, Any]:
    """Murphy's parts over ten bins; the resolution with what happens within the bins."""
    bins, label, score = tenths(rows), rows["label"], rows["score"]
    rate, mean = label.groupby(bins).transform("mean"), score.groupby(bins).transform("mean")
    within = (score - mean).pow(2).mean() - 2 * ((label - rate) * (score - mean)).mean()
    return {
        "brier_reliability": (mean - rate).pow(2).mean(),
        "brier_resolution": (rate - label.mean()).pow(2).mean() - within,
        "brier_uncertainty": label.mean() * (1 - label.mean()),
    }


def tenths(rows: pd.DataFrame) -> np.ndarray:
    """The bin of each score: edges k / 10, half-open, the last one closed."""
    return np.digitize(rows["score"], np.arange(10) / 10) - 1


def mass_tenths(rows: pd.DataFrame) -> np.ndarray:
    """The tenth of the predictions, by rising score, that the middle of a score's bin is in."""
    sizes = rows.groupby("score_bin").size().sort_index()
    middle = sizes.cumsum() - sizes / 2
    return rows["score_bin"].map(np.floor(10 * middle / len(rows)).astype(int)).to_numpy()


def calibration_bins(rows: pd.DataFrame, binning: str = "equal_width") -> pd.DataFrame:
    """One row per bin that is not empty."""
    bins = {"equal_width": tenths, "equal_mass": mass_tenths}[binning](rows)
    grouped = rows.groupby(bins)
    if binning == "equal_width":
        edges = np.arange(10) / 10, np.arange(1, 11) / 10
    else:
        first, last = grouped["score_bin"].min(), grouped["score_bin"].max()
        edges = first.map(lambda k: EDGES[k]), last.map(lambda k: [*EDGES, 1.0][k + 1])
    found = pd.DataFrame(
        {
            "n_mature": grouped.size(),
            "n_positives": grouped["label"].sum(),
            "mean_score": grouped["score"].mean(),
            "observed_rate": grouped["label"].mean(),
        }
    )
    found["score_from"], found["score_to"] = ([edge[k] for k in found.index] for edge in edges)
    intervals = [
        wilson(*pair) for pair in zip(found["n_positives"], found["n_mature"], strict=True)
    ]
    found[["observed_rate_lower", "observed_rate_upper"]] = intervals
    return found


def calibration_errors(rows: pd.DataFrame) -> dict[str, Any]:
    bins = calibration_bins(rows)
    errors = (bins["observed_rate"] - bins["mean_score"]).abs()
    return {
        "expected_calibration_error": np.average(errors, weights=bins["n_mature"]),
        "maximum_calibration_error": errors.max(),
    }


# Classification --------------------------------------------------------------------------------


def test_rows_are_many_and_of_every_kind(mature: pd.DataFrame) -> None:
    kinds = set(map(tuple, mature[["model_version", "run_kind"]].drop_duplicates().to_numpy()))
    assert {("incumbent", "live"), ("v1", "live"), ("v1", "backtest")} <= kinds
    assert mature["slice_name"].nunique() >= 5
    is_edge = (mature["model_version"] == "edges") & (mature["slice_name"] == "all")
    assert sorted(mature["score"][is_edge]) == sorted(scores_at_the_edges())
    assert len(mature[mature["slice_name"] == "all"]) > 5000


def test_daily_metrics_are_those_of_scikit_learn(
    metrics: pd.DataFrame, mature: pd.DataFrame
) -> None:
    keys = [*KEYS, "prediction_date"]
    found = metrics[metrics["n_mature"] > 0]
    assert_metrics(found, mature.groupby(keys).size().to_frame("n_mature"))
    # The library takes its time: every day, and a third of its slices.
    number = mature.groupby(keys).ngroup()
    compared = mature[(mature["slice_name"] == "all") | (number % 3 == 0)]
    expected = of_each(compared, keys, classification)
    # Days of one class, and days without a positive prediction, are among them.
    assert expected["recall"].isna().any()
    assert expected["precision"].isna().any()
    assert_metrics(found.loc[expected.index], expected)


def test_counts_and_sums_add_up_to_the_metrics_of_the_whole_time(
    scored: Settings, mature: pd.DataFrame
) -> None:
    sums = ["n_mature", "n_positives", *COUNTS]
    sums += ["sum_mature_score", "sum_squared_error", "sum_log_loss"]
    totals = frame(
        scored,
        f"select {', '.join(KEYS)}, {', '.join(f'sum({name}) as {name}' for name in sums)} "
        f"from leadlight_intermediate.int_classification_daily group by {', '.join(KEYS)}",
    ).set_index(KEYS)
    totals = totals[totals["n_mature"] > 0]
    for name, total in (
        ("mean_score", "sum_mature_score"),
        ("brier_score", "sum_squared_error"),
        ("log_loss", "sum_log_loss"),
    ):
        totals[name] = totals[total] / totals["n_mature"]
    expected = of_each(mature, KEYS, classification)
    assert_metrics(
        totals,
        expected[["n_mature", "n_positives", *COUNTS, "mean_score", "brier_score", "log_loss"]],
    )


def some_of(rows: pd.DataFrame, keys: list[str], one_in: int) -> pd.DataFrame:
    """The whole of every day or window, and some of their slices: the libraries take their time."""
    number = rows.groupby(keys).ngroup()
    return rows[(rows["slice_name"] == "all") | (number % one_in == 0)]


@pytest.mark.parametrize("oracle", [ranking, brier_parts])
def test_daily_metrics_of_the_histogram(
    metrics: pd.DataFrame, mature: pd.DataFrame, oracle: Callable[[pd.DataFrame], dict[str, Any]]
) -> None:
    expected = of_each(some_of(mature, DAY, 5), DAY, oracle)
    assert_metrics(metrics.loc[expected.index], expected)


@pytest.mark.parametrize("oracle", [classification, ranking, brier_parts])
def test_metrics_of_windows(
    window_metrics: pd.DataFrame,
    windowed: pd.DataFrame,
    oracle: Callable[[pd.DataFrame], dict[str, Any]],
) -> None:
    found = window_metrics[window_metrics["n_mature"] > 0]
    assert_metrics(found, windowed.groupby(WINDOW).size().to_frame("n_mature"))
    # Every pair of a positive and a negative is looked at: not the largest.
    small = windowed.groupby(WINDOW)["label"].transform("size") < 5000
    expected = of_each(some_of(windowed[small], WINDOW, 3), WINDOW, oracle)
    assert set(expected.index.get_level_values("window_name")) == {
        *("last_day", "last_7_days", "last_28_days", "all_time")
    }
    assert_metrics(found.loc[expected.index], expected)


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
@pytest.mark.parametrize(
    ("mart", "keys"), [("fct_calibration_daily", DAY), ("fct_calibration", WINDOW)]
)
def test_calibration_bins(
    scored: Settings,
    mature: pd.DataFrame,
    windowed: pd.DataFrame,
    mart: str,
    keys: list[str],
    binning: str,
) -> None:
    found = frame(
        scored,
        f"select * from leadlight_metrics.{mart} where binning = '{binning}' and n_mature > 0",
    ).set_index([*keys, "calibration_bin"])
    rows = {"fct_calibration_daily": mature, "fct_calibration": windowed}[mart]
    assert (
        len(found)
        == rows.groupby(keys)
        .apply(
            lambda group: len(
                set({"equal_width": tenths, "equal_mass": mass_tenths}[binning](group))
            )
        )
        .sum()
    )
    compared = some_of(rows, keys, 5)
    groups = {key: calibration_bins(group, binning) for key, group in compared.groupby(keys)}
    expected = pd.concat(groups, names=[*keys, "calibration_bin"])
    assert_metrics(found.loc[expected.index], expected)


def test_calibration_errors(metrics: pd.DataFrame, mature: pd.DataFrame) -> None:
    expected = of_each(mature, DAY, calibration_errors)
    assert_metrics(metrics[metrics["n_mature"] > 0], expected)


def test_calibration_errors_of_windows(
    window_metrics: pd.DataFrame, windowed: pd.DataFrame
) -> None:
    expected = of_each(windowed, WINDOW, calibration_errors)
    assert_metrics(window_metrics[window_metrics["n_mature"] > 0], expected)


def test_auc_is_within_the_published_bound(metrics: pd.DataFrame, mature: pd.DataFrame) -> None:
    def auc(rows: pd.DataFrame) -> dict[str, Any]:
        has_both = rows["label"].nunique() == 2
        return {"roc_auc": roc_auc_score(rows["label"], rows["score"]) if has_both else np.nan}

    expected = of_each(mature, [*KEYS, "prediction_date"], auc)["roc_auc"].sort_index()
    found = metrics[metrics["n_mature"] > 0].sort_index()
    assert list(found.index) == list(expected.index)
    assert (found["roc_auc"].isna() == expected.isna()).all()
    known = expected.notna().to_numpy()
    error = (found["roc_auc"] - expected).abs()[known]
    bound = found["roc_auc_error_bound"][known]
    assert (error <= bound + 1e-12).all()
    # The bound says something, and is needed.
    assert bound[found["n_mature"][known] > 30].max() < 0.01
    assert error.max() > 1e-9


def test_metrics_hold_however_rare_positives_are(
    scored: Settings, copy_database: Callable[[Settings, str], Settings]
) -> None:
    """At 32, 3 and 0.3 % positives, with calibrated scores that are as skewed as their rate."""
    settings = copy_database(scored, "rare")
    rng = np.random.default_rng(3)
    answers = {}
    with warehouse.connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute("truncate leadlight_intermediate.int_labelled_predictions")
        for rate, log_odds in ((0.32, -0.95), (0.03, -4.1), (0.003, -6.5)):
            score = 1 / (1 + np.exp(-rng.normal(log_odds, 1.1, 30_000)))
            label = (rng.random(len(score)) < score).astype(int)
            assert label.mean() == pytest.approx(rate, rel=0.2)
            answers[str(rate)] = pd.DataFrame({"label": label, "score": score, "threshold": 0.3})
            columns = (
                "prediction_id, task, model_version, run_kind, label_status, score, threshold, "
                "label, prediction_date, change_number"
            )
            with cursor.copy(
                f"copy leadlight_intermediate.int_labelled_predictions ({columns}) from stdin"
            ) as copy:
                for row in answers[str(rate)].itertuples():
                    values = (row.score, 0.3, row.label, date(2026, 1, 1), 1)
                    copy.write_row((uuid4(), "rare", rate, "live", "mature", *values))
    models = ("int_classification_daily+", "int_score_histograms+")
    run_dbt(settings, ["run", "--full-refresh", "--select", *models], ONCE_MATURE)
    found = frame(
        settings, "select * from leadlight_metrics.fct_classifier_metrics_daily"
    ).set_index("model_version")
    assert len(found) == len(answers)
    for rate, rows in answers.items():
        metrics = found.loc[rate]
        error = abs(metrics["roc_auc"] - roc_auc_score(rows["label"], rows["score"]))
        assert error <= metrics["roc_auc_error_bound"] + 1e-12
        # With bins that do not grow coarse where rare events have their scores.
        assert metrics["roc_auc_error_bound"] < 0.01
        for name, (lowest, highest) in ranked_within_bins(rows).items():
            assert lowest - 1e-9 <= metrics[name] <= highest + 1e-9, name
            assert highest - lowest < 0.04, name
        for name, expected in {**classification(rows), **calibration_errors(rows)}.items():
            if name in metrics and not name.startswith("spiegelhalter"):
                np.testing.assert_allclose(metrics[name], expected, **EXACT, err_msg=name)


def ranked_within_bins(rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """What metrics of the raw scores can be at least and at most, whatever their order in a bin."""
    label = rows["label"].to_numpy()
    score_bin = np.searchsorted(EDGES, rows["score"], side="right")
    # Of each bin the positives last, or first.
    worst, best = (np.argsort(np.lexsort((key, score_bin))) for key in (-label, label))
    return {
        name: (metric(label, worst), metric(label, best))
        for name, metric in (
            ("average_precision", average_precision_score),
            ("ks_statistic", lambda y, s: ks_2samp(s[y == 1], s[y == 0]).statistic),
            ("top_decile_lift", lambda y, s: y[np.argsort(-s)[: len(y) // 10]].mean() / y.mean()),
        )
    }


# Thresholds ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curve(scored: Settings) -> pd.DataFrame:
    found = frame(scored, "select * from leadlight_metrics.fct_threshold_curve")
    keys = ["task", "model_version", "run_kind", "window_name", "threshold"]
    return found.set_index(keys).sort_index()


def test_threshold_curve_is_of_every_threshold(curve: pd.DataFrame, windowed: pd.DataFrame) -> None:
    keys = list(curve.index.names[:-1])
    points = {}
    for key, rows in windowed[windowed["slice_name"] == "all"].groupby(keys):
        label, score = rows["label"].to_numpy(), EDGES[rows["score_bin"]]
        for threshold in curve.loc[key].index:
            predicted = score >= threshold
            points[*key, threshold] = {
                "n_true_positives": (predicted & (label == 1)).sum(),
                "n_false_positives": (predicted & (label == 0)).sum(),
                "n_true_negatives": (~predicted & (label == 0)).sum(),
                "n_false_negatives": (~predicted & (label == 1)).sum(),
            }
        assert {*score} <= {*curve.loc[key].index}
        assert not points[*key, curve.loc[key].index.max()]["n_true_positives"]
    expected = pd.DataFrame(
        points.values(), pd.MultiIndex.from_tuples(points, names=curve.index.names)
    )
    tp, fp, tn, fn = (expected[name] for name in expected)
    for name, numerator, denominator in (
        ("true_positive_rate", tp, tp + fn),
        ("false_positive_rate", fp, fp + tn),
        ("precision", tp, tp + fp),
        ("f1_score", 2 * tp, 2 * tp + fp + fn),
    ):
        expected[name] = numerator / denominator.where(denominator > 0)
    assert_metrics(curve, expected)


def test_net_money_is_that_of_the_randomised_arms(scored: Settings, curve: pd.DataFrame) -> None:
    rows = frame(
        scored,
        "select model_version, run_kind, score, arm, label "
        "from leadlight_intermediate.int_labelled_predictions "
        "where task = 'lead_conversion' and score is not null",
    )
    ((margin, offer, order_value),) = fetch(
        scored,
        "select margin, offer_amount, (select sum(sum_revenue) / sum(n_converted) "
        "from leadlight_intermediate.int_experiment_daily where slice_name = 'all') "
        "from leadlight_shared.dim_experiments join leadlight_shared.dim_experiment_arms "
        "using (experiment) where experiment = 'lead_coupon' and arm = 'coupon'",
    )
    n_known = 0
    for (version, run_kind), predictions in rows.groupby(["model_version", "run_kind"]):
        points = curve.loc[("lead_conversion", version, run_kind, "all_time")]
        score = EDGES[np.searchsorted(EDGES, predictions["score"], side="right") - 1]
        arms = {
            arm: predictions["arm"]
            .fillna("")
            .str.split("+")
            .map(lambda of_each, arm=arm: f"lead_coupon:{arm}" in of_each)
            & predictions["label"].notna()
            for arm in ("coupon", "control")
        }
        highest = score[arms["coupon"] | arms["control"]].max(initial=-1)
        for threshold, point in points.iterrows():
            below = score < threshold
            rates = {
                arm: predictions["label"][chosen & below].mean() for arm, chosen in arms.items()
            }
            if highest < 0 or score[below].max(initial=0) > highest:
                assert np.isnan(point["net_per_lead"])
                assert point["net_unknown_because"]
                continue
            value = float(order_value) * margin
            expected = below.mean() * (
                (rates["coupon"] - rates["control"]) * value - rates["coupon"] * float(offer)
            )
            # Each rate at the end of Wilson's interval that is worse, or better, for the money.
            falls, rises = [], []
            for arm, brings in (("coupon", value - float(offer)), ("control", -value)):
                labels = predictions["label"][arms[arm] & below]
                moves = [brings * (end - rates[arm]) for end in wilson(labels.sum(), len(labels))]
                falls.append(min(moves))
                rises.append(max(moves))
            bounds = [
                expected - below.mean() * np.hypot(*falls),
                expected + below.mean() * np.hypot(*rises),
            ]
            if not below.any():
                expected, bounds = 0, [0, 0]
            assert point["net_per_lead"] == pytest.approx(expected, abs=1e-9, nan_ok=True)
            found = [point["net_per_lead_lower"], point["net_per_lead_upper"]]
            assert found == pytest.approx(bounds, abs=1e-9, nan_ok=True)
            n_known += not np.isnan(expected)
        known = points["net_per_lead"].dropna()
        best = points.index[points["is_best_by_net"]]
        assert list(best) == ([known.idxmax()] if len(known) else [])
    assert n_known > 50


def test_operating_point_is_that_of_the_predictions(
    scored: Settings, curve: pd.DataFrame, windowed: pd.DataFrame
) -> None:
    """What the threshold in force parts, counted in the predictions: its own bin is positive."""
    keys = list(curve.index.names[:-1])
    found = frame(scored, "select * from leadlight_metrics.fct_operating_point").set_index(keys)
    assert len(found) == len(curve.index.droplevel("threshold").unique())
    groups = dict(list(windowed[windowed["slice_name"] == "all"].groupby(keys)))
    n_compared = n_between = 0
    for key, point in found.iterrows():
        points, threshold = curve.loc[key], point["threshold"]
        for name, best in (("f1_score", "best_f1_score"), ("net_per_lead", "best_net_per_lead")):
            assert point[best] == points[name].max() or points[name].isna().all()
        in_force = points[points["is_in_force"]]
        assert len(in_force) == 1
        copied = ["precision", "f1_score", "net_per_lead", "net_per_lead_lower"]
        np.testing.assert_array_equal(
            point[copied].astype(float), in_force.iloc[0][copied].astype(float)
        )
        if key not in groups:
            continue
        rows = groups[key]
        of_threshold = np.searchsorted(EDGES, threshold, side="right") - 1
        predicted = rows["score_bin"] >= of_threshold
        if not (predicted ^ (rows["score"] >= threshold)).any():
            # Nobody scores in its bin and below it: exactly the matrix of the rows.
            n_compared += 1
            n_between += (rows["score_bin"] != of_threshold).all()
        tp, label = (predicted & (rows["label"] == 1)).sum(), rows["label"]
        expected = {
            "precision": tp / predicted.sum() if predicted.any() else np.nan,
            "recall": tp / label.sum() if label.any() else np.nan,
            "f1_score": 2 * tp / (predicted.sum() + label.sum())
            if predicted.any() or label.any()
            else np.nan,
        }
        for name, value in expected.items():
            assert point[name] == pytest.approx(value, abs=1e-12, nan_ok=True), (key, name)
    assert n_compared > 10 and n_between > 3


def test_tiny_scores_stop_no_build(
    scored: Settings, copy_database: Callable[[Settings, str], Settings]
) -> None:
    """Softmax and naive Bayes say such things, and the contract lets them in."""
    settings = copy_database(scored, "tiny")
    with warehouse.connect(settings) as connection:
        connection.execute(
            "insert into scoring.predictions (task, model_version, run_kind, entity_id, as_of_at, "
            "score, threshold) select task, 'tiny-' || tiny.score, 'live', entity_id, as_of_at, "
            "tiny.score, threshold from unnest(array[1e-200, 5e-324]::float8[]) as tiny (score), "
            "(select * from leadlight_intermediate.int_labelled_predictions "
            "where model_version = 'incumbent' and label = 0 order by 1 limit 20) as known"
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


def test_uplift_is_that_of_the_landed_events(scored: Settings, outcomes: pd.DataFrame) -> None:
    """From the landing tables to the mart; its statistics have a file of tests of their own."""
    found = frame(
        scored, "select * from leadlight_metrics.fct_coupon_uplift where slice_name = 'all'"
    ).set_index("metric")
    assert len(outcomes) > 900
    treated, control = (outcomes[outcomes["arm"] == arm] for arm in ("coupon", "control"))
    for metric, column in (("conversion", "n_orders"), ("revenue", "revenue")):
        row = found.loc[metric]
        assert (row["n_mature"], row["control_n_mature"]) == (len(treated), len(control))
        arms = [
            rows[column].clip(upper=1) if metric == "conversion" else rows[column]
            for rows in (treated, control)
        ]
        assert row["mean"] == pytest.approx(arms[0].mean(), rel=1e-12)
        assert row["control_mean"] == pytest.approx(arms[1].mean(), rel=1e-12)
    interval = ttest_ind(treated["revenue"], control["revenue"], equal_var=False)
    low, high = interval.confidence_interval(0.95)
    assert found.loc["revenue", "difference_lower"] == pytest.approx(low, rel=1e-9)
    assert found.loc["revenue", "difference_upper"] == pytest.approx(high, rel=1e-9)


def test_uplift_of_every_day_adds_up(scored: Settings, outcomes: pd.DataFrame) -> None:
    """A day's arms are those of the landed events, and so are all up to it."""
    found = frame(
        scored,
        "select * from leadlight_metrics.fct_coupon_uplift_daily "
        "where slice_name = 'all' and metric = 'revenue'",
    )
    treated = outcomes[outcomes["arm"] == "coupon"].set_index("assignment_date")["revenue"]
    days = found[(found["window_name"] == "day") & (found["n_mature"] > 0)]
    assert len(days) > 20
    for row in days.itertuples():
        of_day = treated.loc[[row.assignment_date]]
        assert (row.n_mature, row.mean) == (len(of_day), pytest.approx(of_day.mean()))
    last = found[found["window_name"] == "to_date"].sort_values("assignment_date").iloc[-1]
    assert (last["n_mature"], last["mean"]) == (len(treated), pytest.approx(treated.mean()))
