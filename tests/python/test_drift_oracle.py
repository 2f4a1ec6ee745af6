"""Drift and the performance expected without labels, held against numpy, scipy and scikit-learn.

The rows are drawn here and written where the models read them, so that what they are compared with
is computed from the same rows without a line of SQL. They come in two deliveries with a run after
each, and a full refresh at the end has to give what the two increments gave.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from helpers import fetch, histogram_edges
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

TASK = "lead_conversion"
START = datetime(2026, 3, 1, tzinfo=UTC)
TRAINED_THROUGH = START + timedelta(days=20) - timedelta(microseconds=1)
N_SAMPLED = 1500
VARIABLES = f"{{as_of: '2026-06-01 00:00:00+00', drift_reference_rows: {N_SAMPLED}}}"
COUNTED = ["int_score_histograms", "int_score_histogram_daily", "int_classification_daily"]
COUNTED += ["dim_model_versions", "int_watched_versions", "int_watched_cells_daily"]
# In the order in which one reads the other.
COMPARED = [
    "int_drift_versions",
    "int_feature_references",
    "int_feature_cells_daily",
    "int_amount_cells_daily",
    "int_drift_windows",
    "fct_feature_shares_daily",
    "fct_feature_drift_daily",
    "fct_score_drift_daily",
    "fct_estimated_performance_daily",
]
NUMBERS = ["n_events", "landed_hour", "hours_since_page_view", "mean_session_minutes"]
NUMBERS += ["attributes.flag", "attributes.size"]
TEXTS = ["utm_medium", "country", "attributes.tag"]
FEATURE_COLUMNS = ["n_events", "landed_hour", "hours_since_page_view", "mean_session_minutes"]
FEATURE_COLUMNS += ["utm_medium", "country", "attributes"]
# The last one helps nothing.
IMPORTANCES = {"n_events": 0.3, "country": 0.2, "attributes.size": 0.1, "landed_hour": 0.0}
EPSILON = 1e-4

EDGES = histogram_edges()


# The rows --------------------------------------------------------------------------------------


def draw_leads(rng: np.random.Generator, day: int, n: int, drift: float = 0.0) -> list[dict]:
    """Draw the feature rows of a day; with drift their values move."""
    leads = []
    for number in range(n):
        attributes: dict[str, Any] = {"flag": bool(rng.random() < 0.3 + drift)}
        attributes["tag"] = 7 if rng.random() < 0.2 else str(rng.choice(["x", "y", "7"]))
        if rng.random() < 0.7:
            attributes["size"] = float(np.round(rng.lognormal(2 + drift), 2))
        leads.append(
            {
                "entity_id": f"lead-{day}-{number}-{rng.integers(1_000_000)}",
                "as_of_at": START + timedelta(days=day, seconds=float(rng.uniform(0, 86_399))),
                "n_events": int(rng.poisson(2 + 3 * drift)),
                "landed_hour": int(rng.integers(24)),
                # Some on the very edge of the distribution, some beyond it.
                "hours_since_page_view": None
                if rng.random() < 0.2 + drift
                else float(
                    rng.choice([0.0, 24 + 10 * drift, rng.uniform(0, 24)], p=[0.2, 0.1, 0.7])
                ),
                "mean_session_minutes": float(rng.exponential(5)) * (1 + drift),
                "utm_medium": rng.choice(["cpc", "email", "social", None], p=[0.5, 0.2, 0.2, 0.1]),
                "country": str(rng.choice(["DE", "AT", "CH", "NL", "FR"]))
                if rng.random() < 0.8
                else f"rare-{rng.integers(40 if day < 20 else 80)}",
                "attributes": attributes,
            }
        )
    return leads


def write_leads(connection: psycopg.Connection, leads: list[dict]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into leadlight_features.fct_lead_conversion_features "
            f"(entity_id, as_of_at, change_number, {', '.join(FEATURE_COLUMNS)}) "
            "values (%s, %s, nextval('leadlight.change_numbers'), "
            f"{', '.join(['%s'] * len(FEATURE_COLUMNS))})",
            [
                [
                    lead["entity_id"],
                    lead["as_of_at"],
                    *(lead[name] for name in FEATURE_COLUMNS[:-1]),
                    json.dumps(lead["attributes"]),
                ]
                for lead in leads
            ],
        )


def register(
    connection: psycopg.Connection, version: str, status: str, first_day: int, task: str = TASK
) -> None:
    connection.execute(
        """
        insert into scoring.models (
            task, model_version, status, algorithm, parameters, features, trained_at,
            trained_from, trained_through, judged_from, judged_through, n_training_rows,
            n_out_of_time_rows, metrics, reason, artifact, artifact_sha256
        )
        values (%s, %s, %s, 'none', '{}', '{}', %s, %s, %s, %s, %s, 0, 0, '{}', 'test', '', '')
        """,
        [task, version, status, TRAINED_THROUGH, START + timedelta(days=first_day)]
        + [TRAINED_THROUGH] * 3,
    )


def write_predictions(
    connection: psycopg.Connection,
    rng: np.random.Generator,
    day: int,
    n: int,
    run_kind: str = "live",
    version: str = "v1",
    status: str = "mature",
    shape: tuple[float, float] = (1.0, 3.0),
) -> None:
    """Write calibrated predictions of a day: each label is drawn with the chance of its score."""
    scores = rng.beta(*shape, n)
    scores[: n // 10] = np.round(scores[: n // 10], 2)
    labels = rng.random(n) < scores
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into leadlight_intermediate.int_labelled_predictions (prediction_id, task, "
            "model_version, run_kind, attributes, label_status, score, threshold, label, "
            "prediction_date, change_number) values (gen_random_uuid(), %s, %s, %s, %s, %s, %s, "
            "0.3, %s, %s, nextval('leadlight.change_numbers'))",
            [
                (
                    *(TASK, version, run_kind),
                    json.dumps({"device": str(rng.choice(["tv", "phone"]))}),
                    *(status, float(score), float(label) if status == "mature" else None),
                    (START + timedelta(days=day)).date(),
                )
                for score, label in zip(scores, labels, strict=True)
            ],
        )


def write_amounts(
    connection: psycopg.Connection, rng: np.random.Generator, day: int, n: int, run_kind: str
) -> None:
    """Write what a regression answers on a day; one of five amounts is nothing at all."""
    amounts = np.where(rng.random(n) < 0.2, 0, rng.lognormal(3 + day / 50, 1, n))
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into leadlight_intermediate.int_labelled_predictions (prediction_id, task, "
            "model_version, run_kind, attributes, label_status, predicted_value, "
            "prediction_date, change_number) values (gen_random_uuid(), 'session_revenue', 'v1', "
            "%s, '{}', 'pending', %s, %s, nextval('leadlight.change_numbers'))",
            [(run_kind, float(amount), (START + timedelta(days=day)).date()) for amount in amounts],
        )


@pytest.fixture(scope="module")
def increments(make_database: Callable[[str], Settings]) -> Settings:
    """A database after two deliveries and as many runs; schema `incremental` keeps its state."""
    settings = make_database("drift")
    run_dbt(settings, ["seed"])
    run_dbt(settings, ["run"], VARIABLES)
    rng, rng_of_amounts = (np.random.default_rng(seed) for seed in (20_260_301, 20_260_302))
    with warehouse.connect(settings) as connection:
        for day in range(20):
            write_leads(connection, draw_leads(rng, day, 120))
        for day in range(20, 26):
            write_leads(connection, draw_leads(rng, day, 90, drift=(day - 20) / 10))
        register(connection, "v0", "retired", 0)
        register(connection, "v1", "champion", 0)
        register(connection, "v2", "challenger", 8)
        for day in range(18, 22):
            write_predictions(connection, rng, day, 700, "backtest")
        for day in range(22, 26):
            write_predictions(connection, rng, day, 300, shape=(1 + day / 50, 3))
            write_predictions(connection, rng, day, 40, version="incumbent")
        write_predictions(connection, rng, 26, 300, status="pending")
        register(connection, "v1", "champion", 0, task="session_revenue")
        for day in range(3, 45, 2):
            write_amounts(connection, rng_of_amounts, day, 150, "backtest" if day < 7 else "live")
        connection.cursor().executemany(
            "insert into scoring.feature_importances values (%s, 'v1', %s, %s, 0, 100)",
            [(TASK, *watched) for watched in IMPORTANCES.items()],
        )
    run(settings)
    with warehouse.connect(settings) as connection:
        # New days, a late row for an old one, a row that moved to another, a day that emptied ...
        write_leads(connection, draw_leads(rng, 26, 90, drift=0.6))
        write_leads(connection, draw_leads(rng, 27, 1))
        write_leads(connection, draw_leads(rng, 21, 2))
        table = "leadlight_features.fct_lead_conversion_features"
        days = [START + timedelta(days=day) for day in range(28)]
        connection.execute(
            f"delete from {table} where as_of_at >= %s and as_of_at < %s", [days[22], days[23]]
        )
        connection.execute(
            f"delete from {table} where entity_id = (select min(entity_id) from {table} "
            "where as_of_at >= %s and as_of_at < %s)",
            [days[23], days[24]],
        )
        # ... a text where there were numbers, a window of which a row changed, ...
        connection.execute(
            f'update {table} set attributes = \'{{"size": "large", "new": 1}}\', '
            "change_number = nextval('leadlight.change_numbers') where entity_id = "
            f"(select min(entity_id) from {table} where as_of_at >= %s)",
            [days[24]],
        )
        connection.execute(
            f"update {table} set n_events = 60, "
            "change_number = nextval('leadlight.change_numbers') where entity_id = "
            f"(select min(entity_id) from {table} where as_of_at < %s)",
            [days[3]],
        )
        # ... another version in use, and labels that came of age.
        connection.execute(
            "update scoring.models set status = 'retired' where model_version = 'v2'"
        )
        register(connection, "v3", "challenger", 12)
        write_predictions(connection, rng, 25, 5, status="pending")
        write_predictions(connection, rng, 27, 3000)
        write_predictions(connection, rng, 30, 500, shape=(2, 3))
        # A backtest that comes late moves the deciles under all days.
        write_amounts(connection, rng_of_amounts, 4, 50, "backtest")
        write_amounts(connection, rng_of_amounts, 44, 50, "live")
    run(settings)
    with warehouse.connect(settings) as connection:
        connection.execute("create schema incremental")
        for name, relation in relations_of(COMPARED).items():
            connection.execute(f"create table incremental.{name} as table {relation}")
    return settings


def relations_of(names: list[str]) -> dict[str, str]:
    return {
        name: f"leadlight_{'intermediate' if name.startswith('int_') else 'metrics'}.{name}"
        for name in names
    }


def run(settings: Settings, *options: str) -> None:
    run_dbt(settings, ["run", *options, "--select", *COUNTED, *COMPARED], VARIABLES)


@pytest.fixture(scope="module")
def refreshed(increments: Settings) -> Settings:
    """The same database, built anew."""
    run(increments, "--full-refresh")
    return increments


def frame(settings: Settings, query: str) -> pd.DataFrame:
    """Return the rows of a query, decimals as doubles."""
    with warehouse.connect(settings) as connection:
        cursor = connection.execute(query)
        return pd.DataFrame(cursor.fetchall(), columns=[c.name for c in cursor.description])


# Increments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPARED)
def test_increments_equal_a_full_refresh(refreshed: Settings, name: str) -> None:
    relation = relations_of(COMPARED)[name]
    with warehouse.connect(refreshed) as connection:
        description = connection.execute(f"select * from {relation} limit 0").description
        columns = ", ".join(c.name for c in description if c.name != "change_number")
        ((n_rows,),) = connection.execute(f"select count(*) from {relation}").fetchall()
        different = connection.execute(
            f"(select {columns} from {relation} "
            f"except all select {columns} from incremental.{name}) "
            f"union all (select {columns} from incremental.{name} "
            f"except all select {columns} from {relation})"
        ).fetchall()
    assert n_rows > 1
    assert different == []


def test_an_increment_writes_what_changed_alone(refreshed: Settings) -> None:
    query = (
        "select model_version, feature_date, min(change_number) "
        "from leadlight_metrics.fct_feature_drift_daily group by model_version, feature_date"
    )
    before = {(version, day): number for version, day, number in fetch(refreshed, query)}
    with warehouse.connect(refreshed) as connection:
        connection.execute(
            "update leadlight_features.fct_lead_conversion_features set change_number = "
            "nextval('leadlight.change_numbers') where entity_id = (select min(entity_id) "
            "from leadlight_features.fct_lead_conversion_features where as_of_at >= %s)",
            [START + timedelta(days=26)],
        )
    run(refreshed)
    after = {(version, day): number for version, day, number in fetch(refreshed, query)}
    assert after.keys() == before.keys()
    written = {key for key, number in after.items() if number > before[key]}
    (day,) = {day for _, day in written}
    assert written == {("v1", day), ("v3", day)}


# Features --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leads(refreshed: Settings) -> pd.DataFrame:
    """One row per lead: its features, their day and whether the digest draws it."""
    rows = frame(
        refreshed,
        f"select entity_id, as_of_at, {', '.join(FEATURE_COLUMNS)} "
        "from leadlight_features.fct_lead_conversion_features",
    )
    for name in ("flag", "size", "tag"):
        rows[f"attributes.{name}"] = [row.get(name) for row in rows["attributes"]]
    rows["attributes.flag"] = rows["attributes.flag"].astype(float)
    is_text = rows["attributes.size"].map(lambda value: isinstance(value, str))
    rows["attributes.size"] = rows["attributes.size"].where(~is_text).astype(float)
    tags = rows["attributes.tag"]
    rows["attributes.tag"] = tags.map(lambda tag: tag if tag is None else str(tag))
    rows["feature_date"] = rows["as_of_at"].dt.tz_convert("UTC").dt.date
    rows["place"] = [
        int(hashlib.md5(entity_id.encode()).hexdigest()[:7], 16) / 16**7
        for entity_id in rows["entity_id"]
    ]
    return rows


def reference_of(leads: pd.DataFrame, first_day: int) -> pd.DataFrame:
    start = START + timedelta(days=first_day)
    window = leads[(leads["as_of_at"] >= start) & (leads["as_of_at"] <= TRAINED_THROUGH)]
    return window[window["place"] < min(1, N_SAMPLED / len(window))]


def population_stability_index(share: np.ndarray, reference: np.ndarray) -> float:
    share, reference = np.maximum(share, EPSILON), np.maximum(reference, EPSILON)
    return float(((share - reference) * np.log(share / reference)).sum())


def shares_of(cells: pd.Series, names: list[Any]) -> np.ndarray:
    return cells.value_counts(normalize=True).reindex(names, fill_value=0).to_numpy()


def compare(values: pd.Series, reference: pd.Series, is_number: bool) -> dict[str, float]:
    """Compare the values of a day with those learned from."""
    if is_number:
        deciles = np.quantile(reference.dropna(), np.arange(1, 10) / 10)
        names = [-1, *range(10)]
        sides = [
            pd.Series(np.where(side.isna(), -1, np.searchsorted(deciles, side, side="right")))
            for side in (values, reference)
        ]
    else:
        common = reference.value_counts() / len(reference)
        levels = list(common.index[common >= 0.05])
        names = ["(missing)", "(other)", *levels]
        sides = [
            side.where(side.isin(levels) | side.isna(), "(other)").fillna("(missing)")
            for side in (values, reference)
        ]
    share, reference_share = (shares_of(side, names) for side in sides)
    expected = {
        "n_reference_rows": len(reference),
        "n_rows": len(values),
        "population_stability_index": population_stability_index(share, reference_share),
        "total_variation_distance": np.abs(share - reference_share).sum() / 2,
        "missing_share": values.isna().mean(),
        "reference_missing_share": reference.isna().mean(),
    }
    if is_number:
        expected |= {"mean_value": values.mean(), "reference_mean_value": reference.mean()}
    return expected


@pytest.fixture(scope="module")
def feature_drift(refreshed: Settings) -> pd.DataFrame:
    drift = frame(refreshed, "select * from leadlight_metrics.fct_feature_drift_daily")
    return drift.set_index(["model_version", "feature", "feature_date"]).sort_index()


def test_every_feature_and_day_of_the_versions_in_use_stands_there(
    feature_drift: pd.DataFrame, leads: pd.DataFrame
) -> None:
    days = {day for day in leads["feature_date"] if day >= date(2026, 3, 21)}
    assert len(days) == 7
    kinds = feature_drift.reset_index().groupby("feature")["feature_kind"].unique().map(list)
    expected = {name: ["number"] for name in NUMBERS} | {name: ["text"] for name in TEXTS}
    assert kinds.to_dict() == expected
    assert set(feature_drift.index) == {
        (version, feature, day)
        for version in ("v1", "v3")
        for feature in kinds.index
        for day in days
    }


@pytest.mark.parametrize(("version", "first_day"), [("v1", 0), ("v3", 12)])
@pytest.mark.parametrize("feature", [*NUMBERS, *TEXTS])
def test_feature_drift(
    feature_drift: pd.DataFrame, leads: pd.DataFrame, version: str, first_day: int, feature: str
) -> None:
    reference = reference_of(leads, first_day)
    # One version is measured against a sample, the other against its whole window.
    assert len(reference) == pytest.approx(N_SAMPLED if version == "v1" else 8 * 120, rel=0.1)
    for day, rows in leads[leads["feature_date"] >= date(2026, 3, 21)].groupby("feature_date"):
        found = feature_drift.loc[(version, feature, day)]
        expected = compare(rows[feature], reference[feature], feature in NUMBERS)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (name, day)
        known, known_reference = rows[feature].dropna(), reference[feature].dropna()
        if feature in TEXTS or known.empty:
            assert found["kolmogorov_smirnov_statistic"] is None or np.isnan(
                found["kolmogorov_smirnov_statistic"]
            )
            continue
        for name, exact in (
            ("kolmogorov_smirnov", ks_2samp(known, known_reference).statistic),
            ("wasserstein", wasserstein_distance(known, known_reference)),
        ):
            ending = "statistic" if name == "kolmogorov_smirnov" else "distance"
            lower, bound = found[f"{name}_{ending}"], found[f"{name}_error_bound"]
            assert lower - 1e-9 <= exact <= lower + bound + 1e-9, (name, day)


def test_the_bounds_say_something(feature_drift: pd.DataFrame) -> None:
    known = feature_drift[feature_drift["n_rows"] > 50]
    # What has a few values lies on the edges.
    for feature in ("landed_hour", "attributes.flag"):
        assert (known.xs(feature, level="feature")["kolmogorov_smirnov_error_bound"] == 0).all()
    assert known["kolmogorov_smirnov_error_bound"].max() < 0.05
    drifted = known.loc[("v1", "mean_session_minutes", date(2026, 3, 27))]
    assert drifted["wasserstein_error_bound"] < 0.1 * drifted["wasserstein_distance"]


def test_shares_of_cells(refreshed: Settings, leads: pd.DataFrame) -> None:
    found = frame(
        refreshed,
        "select * from leadlight_metrics.fct_feature_shares_daily where model_version = 'v1'",
    )
    totals = found.groupby(["feature", "feature_date"])[["share", "reference_share"]].sum()
    np.testing.assert_allclose(totals, 1, atol=1e-12)
    reference = reference_of(leads, 0)["country"]
    for day, rows in leads[leads["feature_date"] >= date(2026, 3, 21)].groupby("feature_date"):
        cells = found[(found["feature"] == "country") & (found["feature_date"] == day)]
        cells = cells.set_index("cell_name")
        assert set(cells.index) == {"DE", "AT", "CH", "NL", "FR", "(other)"}
        for name in ("DE", "AT", "CH", "NL", "FR"):
            assert cells.loc[name, "n_values"] == (rows["country"] == name).sum()
            assert cells.loc[name, "n_reference_values"] == (reference == name).sum()


# Scores ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predictions(refreshed: Settings) -> pd.DataFrame:
    return frame(
        refreshed,
        "select model_version, run_kind, prediction_date, score, threshold, label_status, label, "
        "attributes ->> 'device' as device from leadlight_intermediate.int_labelled_predictions "
        "where score is not null",
    )


def test_score_drift(refreshed: Settings, predictions: pd.DataFrame) -> None:
    drift = frame(refreshed, "select * from leadlight_metrics.fct_score_drift_daily")
    # The incumbent has no backtest to be compared with.
    assert set(drift["model_version"]) == {"v1"}
    versions = predictions[predictions["model_version"] == "v1"]
    reference = versions["score"][versions["run_kind"] == "backtest"].to_numpy()
    live = versions[versions["run_kind"] == "live"]
    drift = drift.set_index("prediction_date")
    assert set(drift.index) == set(live["prediction_date"])
    edges = np.array(
        fetch(
            refreshed,
            "select distinct score_bin from leadlight_intermediate.int_score_histogram_daily",
        )
    )
    assert len(edges) > 200
    for day, rows in live.groupby("prediction_date"):
        found, scores = drift.loc[day], rows["score"].to_numpy()
        assert (found["n_reference"], found["n_predictions"]) == (len(reference), len(scores))
        assert found["mean_score"] == pytest.approx(scores.mean(), abs=1e-9)
        assert found["reference_mean_score"] == pytest.approx(reference.mean(), abs=1e-9)
        exact = ks_2samp(scores, reference).statistic
        lower = found["kolmogorov_smirnov_statistic"]
        assert lower - 1e-9 <= exact <= lower + found["kolmogorov_smirnov_error_bound"] + 1e-9
        exact = wasserstein_distance(scores, reference)
        lower = found["wasserstein_distance"]
        assert lower - 1e-9 <= exact <= lower + found["wasserstein_error_bound"] + 1e-9
        assert found["wasserstein_error_bound"] < 1e-3
        deciles = np.quantile(reference, np.arange(1, 10) / 10)
        index = population_stability_index(
            *(
                np.bincount(np.searchsorted(deciles, side, side="right"), minlength=10) / len(side)
                for side in (scores, reference)
            )
        )
        # The tenths end on an edge of the histogram, at most one bin from the decile.
        assert found["population_stability_index"] == pytest.approx(index, abs=0.02)


# Windows ---------------------------------------------------------------------------------------


def windows_of(days: pd.Series, reference_date: date) -> dict[date, pd.Series]:
    """Return which rows fall into the window that ends on each day: at most four whole weeks."""
    windows = {}
    for day in sorted(set(days)):
        n_weeks = min(28, (day - reference_date).days) // 7
        if n_weeks > 0:
            windows[day] = (days > day - timedelta(weeks=n_weeks)) & (days <= day)
    return windows


@pytest.fixture(scope="module")
def drift_windows(refreshed: Settings) -> pd.DataFrame:
    found = frame(refreshed, "select * from leadlight_intermediate.int_drift_windows")
    assert set(found["model_version"]) == {"v1"}
    return found.set_index(["task", "watched_kind", "feature", "measured_date"]).sort_index()


@pytest.mark.parametrize("feature", ["n_events", "country", "attributes.size"])
def test_drift_of_features_over_whole_weeks(
    drift_windows: pd.DataFrame, leads: pd.DataFrame, feature: str
) -> None:
    reference = reference_of(leads, 0)[feature]
    later = leads[leads["feature_date"] > TRAINED_THROUGH.date()]
    windows = windows_of(later["feature_date"], TRAINED_THROUGH.date())
    found = drift_windows.loc[(TASK, "feature", feature)]
    assert list(found.index) == list(windows) == [date(2026, 3, 27), date(2026, 3, 28)]
    assert list(found["is_newest"]) == [False, True]
    for day, is_within in windows.items():
        values = later.loc[is_within, feature]
        expected = compare(values, reference, feature in NUMBERS)["population_stability_index"]
        line = found.loc[day]
        assert (line["n_reference"], line["n_recent"]) == (len(reference), len(values))
        assert line["population_stability_index"] == pytest.approx(expected, rel=1e-9)


def test_only_features_that_help_are_watched(drift_windows: pd.DataFrame) -> None:
    watched = {key[:3] for key in drift_windows.index}
    assert watched == {
        *((TASK, "feature", name) for name in ("n_events", "country", "attributes.size")),
        *((task, "answer", "answer") for task in (TASK, "session_revenue")),
    }


@pytest.mark.parametrize(("task", "column"), [(TASK, "score"), ("session_revenue", "amount")])
def test_drift_of_answers_over_whole_weeks(
    drift_windows: pd.DataFrame, refreshed: Settings, task: str, column: str
) -> None:
    answers = frame(
        refreshed,
        "select run_kind, prediction_date, score, predicted_value as amount "
        "from leadlight_intermediate.int_labelled_predictions "
        f"where task = '{task}' and model_version = 'v1'",
    )
    backtest = answers[answers["run_kind"] == "backtest"]
    live = answers[answers["run_kind"] == "live"]
    windows = windows_of(live["prediction_date"], max(backtest["prediction_date"]))
    found = drift_windows.loc[(task, "answer", "answer")]
    assert list(found.index) == list(windows)
    deciles = np.quantile(backtest[column], np.arange(1, 10) / 10)
    for day, is_within in windows.items():
        sides = (live.loc[is_within, column], backtest[column])
        line = found.loc[day]
        assert (line["n_recent"], line["n_reference"]) == tuple(map(len, sides))
        tenths = [np.searchsorted(deciles, side, side="right") for side in sides]
        expected = population_stability_index(
            *(np.bincount(tenth, minlength=10) / len(tenth) for tenth in tenths)
        )
        # The tenths of scores end on an edge of their histogram, at most one bin from the decile.
        tolerance = {"abs": 0.02} if column == "score" else {"rel": 1e-9}
        assert line["population_stability_index"] == pytest.approx(expected, **tolerance), day


# Estimates -------------------------------------------------------------------------------------


def sliced(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per prediction and slice that it stands in."""
    slices = [predictions.assign(slice_name="all", slice_value="all")]
    for name in ("device", "country", "utm_medium"):
        values = predictions["device"] if name == "device" else "unknown"
        slices.append(predictions.assign(slice_name=name, slice_value=values))
    return pd.concat(slices, ignore_index=True)


def expected_auc(scores: np.ndarray) -> float:
    """The ROC AUC if every score is a positive of that weight and a negative of the rest."""
    labels = np.repeat([1, 0], len(scores))
    weights = np.concatenate([scores, 1 - scores])
    return roc_auc_score(labels, np.tile(scores, 2), sample_weight=weights)


def test_estimated_performance(refreshed: Settings, predictions: pd.DataFrame) -> None:
    keys = ["model_version", "run_kind", "slice_name", "slice_value", "prediction_date"]
    found = frame(refreshed, "select * from leadlight_metrics.fct_estimated_performance_daily")
    found = found.set_index(keys).astype(float, errors="ignore")
    groups = dict(list(sliced(predictions).groupby(keys)))
    assert set(found.index) == set(groups)
    for key, rows in groups.items():
        line, score = found.loc[key], rows["score"].to_numpy()
        predicted = score >= rows["threshold"].to_numpy(float)
        matrix = {
            "expected_true_positives": score[predicted].sum(),
            "expected_false_positives": (1 - score[predicted]).sum(),
            "expected_true_negatives": (1 - score[~predicted]).sum(),
            "expected_false_negatives": score[~predicted].sum(),
        }
        tp, fp, tn, fn = matrix.values()
        expected = matrix | {
            "n_predictions": len(rows),
            "n_pending": (rows["label_status"] == "pending").sum(),
            "n_predicted_positives": predicted.sum(),
            "estimated_precision": tp / (tp + fp) if predicted.any() else np.nan,
            "estimated_recall": tp / (tp + fn),
            "estimated_f1_score": 2 * tp / (2 * tp + fp + fn),
            "estimated_accuracy": (tp + tn) / len(rows),
        }
        if (rows["label_status"] == "mature").all():
            label = rows["label"].to_numpy(int)
            for name, metric in (
                ("precision", precision_score),
                ("recall", recall_score),
                ("f1_score", f1_score),
            ):
                expected[f"realised_{name}"] = metric(label, predicted, zero_division=np.nan)
            expected["realised_accuracy"] = accuracy_score(label, predicted)
            # Scores of one bin tie.
            bins = np.searchsorted(EDGES, score, side="right")
            both = len(set(label)) == 2
            expected["realised_roc_auc"] = roc_auc_score(label, bins) if both else np.nan
            for name in ("precision", "recall", "f1_score", "accuracy", "roc_auc"):
                estimate = expected.get(f"estimated_{name}", float(line[f"estimated_{name}"]))
                expected[f"{name}_error"] = estimate - expected[f"realised_{name}"]
        else:
            for name in ("precision", "recall", "f1_score", "accuracy", "roc_auc"):
                expected |= {f"realised_{name}": np.nan, f"{name}_error": np.nan}
        for name, value in expected.items():
            assert float(line[name]) == pytest.approx(value, abs=1e-9, nan_ok=True), (key, name)
        error = abs(line["estimated_roc_auc"] - expected_auc(score))
        assert error <= line["estimated_roc_auc_error_bound"] + 1e-9, key


def test_calibrated_scores_tell_the_performance_before_the_labels(refreshed: Settings) -> None:
    (errors,) = fetch(
        refreshed,
        "select precision_error, recall_error, f1_score_error, accuracy_error, roc_auc_error "
        "from leadlight_metrics.fct_estimated_performance_daily "
        "where slice_name = 'all' and prediction_date = '2026-03-28' and n_predictions = 3000",
    )
    # Three standard errors of a share among the fewer than a thousand predicted positives.
    assert max(map(abs, errors)) < 0.05
