"""Regressions and clusterings, measured by SQL and by scikit-learn; first days by pandas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import TASKS, done, fetch_dicts, quick_training
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.metrics import (
    davies_bouldin_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
    silhouette_score,
)
from sklearn.metrics.cluster import _unsupervised

from python_scoring import cli, training
from python_scoring.settings import Settings

REGISTRY = {
    "experiments": {},
    "prediction_tasks": {
        name: TASKS[name] for name in ("session_revenue", "customer_persona", "first_day_churn")
    }
    | {
        "visit_kind": {
            "kind": "clustering",
            "entity": "session",
            "features_model": "fct_session_features",
        }
    },
}
UNTIL = datetime(2025, 6, 30)
THEN = REGISTRY | {"as_of": "2025-06-15 00:00:00+00"}
# Months end where the events do.
NOW = REGISTRY | {"calendar_end_date": "2025-07-02"}
SAMPLED = 200
KEYS = ["task", "model_version", "run_kind"]
CLUSTERINGS = ("customer_persona", "visit_kind")


@pytest.fixture(scope="module")
def measured(make_database: Callable[[str], Settings]) -> Settings:
    """Simulated businesses, trained as of June, once more with another seed, and a month later."""
    settings = make_database("kinds")
    cli.run_simulation(settings, n_leads=1000, n_days=60, seed=6, until=UNTIL)

    def train(*tasks: str) -> None:
        for task in tasks:
            done(settings, "train", "--task", task)
        done(settings, "score")

    with pytest.MonkeyPatch.context() as patch, quick_training():
        done(settings, "run", "--select", "pre", "--vars", json.dumps(THEN))
        train("session_revenue", *CLUSTERINGS)
        patch.setattr(training, "SEED", training.SEED + 1)
        train(*CLUSTERINGS)
        done(settings, "run", "--select", "pre", "--vars", json.dumps(NOW))
        train("session_revenue", *CLUSTERINGS)
        done(settings, "run", "--select", "post", "--vars", json.dumps(NOW))
    return settings


def frame(settings: Settings, query: str, parameters: Sequence[Any] | None = None) -> pd.DataFrame:
    """Return the rows of a query."""
    return pd.DataFrame(fetch_dicts(settings, query, parameters))


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Every row and column that is expected is found, numbers to 1e-9, nulls where they belong."""
    found, expected = found.sort_index(), expected.sort_index()
    assert list(found.index) == list(expected.index)
    for name in expected:
        np.testing.assert_allclose(
            found[name].astype(float).to_numpy(),
            expected[name].astype(float).to_numpy(),
            rtol=1e-9,
            atol=1e-9,
            err_msg=name,
        )


def of_each(rows: pd.DataFrame, keys: list[str], measure: Callable) -> pd.DataFrame:
    """Measure each group of rows."""
    groups = {key: measure(group) for key, group in rows.groupby(keys)}
    return pd.DataFrame.from_dict(groups, orient="index").set_axis(
        pd.MultiIndex.from_tuples(groups, names=keys)
    )


# Regression ------------------------------------------------------------------------------------

SLICES = [*KEYS, "slice_name", "slice_value"]


@pytest.fixture(scope="module")
def amounts(measured: Settings) -> pd.DataFrame:
    """One row per prediction of an amount and slice: what was predicted and what came."""
    rows = frame(
        measured,
        "select task, model_version, run_kind, predicted_value as predicted, attributes, label, "
        "cast(as_of_at at time zone 'UTC' as date) as prediction_date "
        "from scoring.predictions join leadlight_intermediate.int_labels as labels "
        "using (entity_id, as_of_at) where label_name = task and label_status = 'mature' "
        "and predicted_value is not null",
    )
    slices = [rows.assign(slice_name="all", slice_value="all")] + [
        rows.assign(
            slice_name=name,
            slice_value=[document[name] or "unknown" for document in rows["attributes"]],
        )
        for name in TASKS["session_revenue"]["slices"]
    ]
    return pd.concat(slices, ignore_index=True)


def regression(rows: pd.DataFrame) -> dict[str, Any]:
    label, predicted = rows["label"], rows["predicted"]
    return {
        "n_mature": len(rows),
        "mean_actual": label.mean(),
        "bias": (predicted - label).mean(),
        "mean_absolute_error": mean_absolute_error(label, predicted),
        "root_mean_squared_error": root_mean_squared_error(label, predicted),
        "r_squared": r2_score(label, predicted) if label.nunique() > 1 else np.nan,
    }


def test_daily_regression_metrics_are_those_of_scikit_learn(
    measured: Settings, amounts: pd.DataFrame
) -> None:
    keys = [*SLICES, "prediction_date"]
    found = frame(measured, "select * from leadlight_metrics.fct_regression_metrics_daily")
    expected = of_each(amounts, keys, regression)
    assert_same(found.set_index(keys), expected)
    backtest = expected.xs("backtest", level="run_kind")
    assert backtest.loc[("session_revenue", "v1", "all")]["n_mature"].sum() > 500
    # Days on which nobody spent anything have no R2.
    assert 0 < backtest["r_squared"].isna().sum() < len(backtest)
    assert "live" in expected.index.get_level_values("run_kind")


def test_daily_sums_add_up_to_what_the_model_was_judged_by(
    measured: Settings, amounts: pd.DataFrame
) -> None:
    sums = frame(
        measured,
        f"select {', '.join(SLICES)}, sum(n_mature) as n_mature, sum(sum_error) as sum_error, "
        "sum(sum_absolute_error) as sum_absolute_error, sum(sum_squared_error) as "
        "sum_squared_error, sum(sum_actual) as sum_actual, "
        "sum(sum_squared_actual) as sum_squared_actual "
        f"from leadlight_intermediate.int_regression_daily group by {', '.join(SLICES)}",
    )
    sums = sums.set_index(SLICES).astype(float)
    variation = sums["sum_squared_actual"] - sums["sum_actual"] ** 2 / sums["n_mature"]
    found = pd.DataFrame(
        {
            "n_mature": sums["n_mature"],
            "mean_actual": sums["sum_actual"] / sums["n_mature"],
            "bias": sums["sum_error"] / sums["n_mature"],
            "mean_absolute_error": sums["sum_absolute_error"] / sums["n_mature"],
            "root_mean_squared_error": np.sqrt(sums["sum_squared_error"] / sums["n_mature"]),
            "r_squared": 1 - sums["sum_squared_error"] / variation.where(variation > 1e-6),
        }
    )
    assert_same(found, of_each(amounts, SLICES, regression))

    judged = frame(
        measured,
        "select model_version, metrics from scoring.models where task = 'session_revenue'",
    ).set_index("model_version")["metrics"]
    names = {
        "rmse": "root_mean_squared_error",
        "mae": "mean_absolute_error",
        "r2": "r_squared",
        "bias": "bias",
    }
    assert list(judged.index) == ["v1", "v2"]
    for version, metrics in judged.items():
        row = found.loc[("session_revenue", version, "backtest", "all", "all")]
        assert metrics == pytest.approx({name: row[long] for name, long in names.items()}, rel=1e-9)


# Clustering ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def places(measured: Settings) -> pd.DataFrame:
    """One row per prediction of a segment, with its place in the space of the model."""
    return frame(
        measured,
        "select task, model_version, run_kind, segment, entity_id, prediction_id, as_of_at, "
        "attributes -> 'coordinates' as place, "
        "cast(as_of_at at time zone 'UTC' as date) as prediction_date "
        "from scoring.predictions where segment is not null",
    )


@pytest.fixture
def exact_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give scikit-learn exact distances: its own are off by 1e-8 where points all but coincide."""

    def pairwise_distances(X: Any, Y: Any = None, **options: Any) -> np.ndarray:
        return cdist(X, X if Y is None else Y)

    monkeypatch.setattr(_unsupervised, "pairwise_distances", pairwise_distances)


def segmentation(rows: pd.DataFrame) -> dict[str, Any]:
    # The sample is drawn by the digest of the entity.
    digest = rows["entity_id"].map(lambda name: hashlib.md5(name.encode()).hexdigest())
    sample = rows.assign(digest=digest).sort_values(["digest", "prediction_id"])[:SAMPLED]
    place, sampled_place = (np.array(part["place"].tolist()) for part in (rows, sample))

    def measured_by(score: Callable, *data: Any) -> float:
        n_segments = len(np.unique(data[-1]))
        if n_segments == 1:
            return np.nan
        # Where each is alone in its segment, scikit-learn refuses to say it.
        return score(*data) if n_segments < len(data[-1]) else 0.0

    return {
        "n_predictions": len(rows),
        "n_segments": rows["segment"].nunique(),
        "n_sampled": len(sample),
        "silhouette": measured_by(
            partial(silhouette_score, metric="precomputed"),
            cdist(sampled_place, sampled_place),
            sample["segment"],
        ),
        "davies_bouldin_index": measured_by(davies_bouldin_score, place, rows["segment"]),
    }


def test_daily_segment_metrics_are_those_of_scikit_learn(
    measured: Settings, places: pd.DataFrame, exact_distances: None
) -> None:
    keys = [*KEYS, "prediction_date"]
    found = frame(measured, "select * from leadlight_metrics.fct_segment_metrics_daily")
    expected = of_each(places, keys, segmentation)
    assert_same(found.set_index(keys), expected)
    assert len(expected.loc["visit_kind"]) > 90
    personas = expected.loc["customer_persona"]
    assert (personas["n_sampled"] == np.minimum(personas["n_predictions"], SAMPLED)).all()
    assert personas["n_predictions"].max() > SAMPLED
    assert personas["silhouette"].min() > 0.2


def test_sizes_and_drift_of_shares(measured: Settings, places: pd.DataFrame) -> None:
    keys = [*KEYS, "prediction_date", "segment"]
    found = frame(measured, "select * from leadlight_metrics.fct_segment_sizes_daily")
    trained = frame(
        measured, "select task, model_version, segment, n_entities from scoring.segments"
    )
    of_model = trained.groupby(["task", "model_version"])["n_entities"].transform("sum")
    trained["trained_share"] = trained.pop("n_entities") / of_model

    sizes = places.groupby(keys).size().rename("n_predictions").reset_index()
    of_day = sizes.groupby(keys[:-1])["n_predictions"].transform("sum")
    sizes["share"] = sizes["n_predictions"] / of_day
    expected = sizes.merge(trained, on=["task", "model_version", "segment"], how="left")
    expected["share_drift"] = expected["share"] - expected["trained_share"]
    assert expected["share_drift"].notna().all()
    assert_same(found.set_index(keys), expected.set_index(keys))


@pytest.mark.parametrize("task", CLUSTERINGS)
def test_segments_keep_their_numbers(measured: Settings, places: pd.DataFrame, task: str) -> None:
    of_task = places[places["task"] == task]
    first, again, later = (
        of_task[of_task["model_version"] == version].set_index(["entity_id", "as_of_at"])["segment"]
        for version in ("v1", "v2", "v3")
    )
    # Another seed finds them in another order; no other numbers would make the two more alike.
    overlap = pd.crosstab(first, again.loc[first.index])
    best_first, best_again = linear_sum_assignment(overlap, maximize=True)
    assert list(overlap.index[best_first]) == list(overlap.columns[best_again])
    assert (first == again.loc[first.index]).mean() > 0.8

    # A month later, a number stands for what it is most like.
    profiles = frame(
        measured,
        "select model_version, segment, feature, coalesce(level, '') as level, segment_mean, "
        "z_score from scoring.cluster_profiles where task = %s",
        [task],
    ).pivot(index=["model_version", "segment"], columns=["feature", "level"], values="z_score")
    profiles = profiles.fillna(0.0)
    before, after = profiles.loc["v2"], profiles.loc["v3"]
    kept = [number for number in after.index if number in before.index]
    assert len(kept) >= 2
    for number in kept:
        distance = ((before - after.loc[number]) ** 2).sum(axis=1)
        assert distance.idxmin() == number
    assert all(number > before.index.max() for number in after.index if number not in kept)
    assert set(later) <= set(after.index)


# First days ------------------------------------------------------------------------------------


def test_statistics_of_the_first_day_are_those_of_pandas(measured: Settings) -> None:
    # From the landing table alone: the first valid delivery of each event.
    events = frame(
        measured,
        """
        select distinct on (event_id) event_id, event_type, user_id, occurred_at, amount
        from tracking.events
        where event_id is not null and user_id is not null and event_type in
            ('new_registration', 'new_purchase', 'new_bet', 'new_win')
            and occurred_at <= loaded_at + interval '1 day'
            and (amount >= 0 or event_type = 'new_registration')
        order by event_id, delivery_id
        """,
    )
    is_registration = events["event_type"] == "new_registration"
    registered_at = events[is_registration].groupby("user_id")["occurred_at"].min()
    plays = events[~is_registration].join(registered_at.rename("registered_at"), on="user_id")
    on_first_day = plays["occurred_at"].between(
        plays["registered_at"], plays["registered_at"] + timedelta(days=1)
    )
    plays = plays[on_first_day]
    found = frame(measured, "select * from leadlight_features.fct_player_first_day_features")
    found = found.set_index("entity_id")
    assert list(found["as_of_at"].sort_index()) == list(
        registered_at.loc[found.index].sort_index() + timedelta(days=1)
    )
    for name in ("purchase", "bet", "win"):
        amounts = plays[plays["event_type"] == f"new_{name}"].groupby("user_id")["amount"]
        count = amounts.size().reindex(found.index, fill_value=0)
        assert (found[f"{name}_count"] == count).all()
        assert count.max() > 1
        # Money is decimal, and its sum exact.
        sums = amounts.sum().reindex(found.index, fill_value=0)
        assert (found[f"{name}_sum"] == sums).all()
        floats = plays["amount"].astype(float).groupby([plays["event_type"], plays["user_id"]])
        for statistic, values in (("mean", floats.mean()), ("var", floats.var())):
            expected = values.loc[f"new_{name}"].reindex(found.index)
            np.testing.assert_allclose(
                found[f"{name}_{statistic}"].astype(float), expected, rtol=1e-12, atol=1e-12
            )
            assert expected.isna().any()
