"""Comparisons of versions, label maturity and alerts, held against numpy, scipy and pandas.

The rows are made up here, so what is compared with knows them from their making and not from dbt.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from helpers import fetch, fetch_value
from psycopg.rows import dict_row
from scipy import stats

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)
FIRST = datetime(2025, 4, 1, tzinfo=UTC)
STOPPED = NOW - 2 * DAY
N_DAYS = 90
KINDS = {"lead_conversion": "binary", "session_revenue": "regression"}
HORIZONS = {"lead_conversion": 14 * DAY, "session_revenue": DAY}
CHAMPION = "m2"
STATUSES = {"m1": "retired", CHAMPION: "champion", "m3": "challenger"}
SQL_ONLY = ["--exclude-resource-type", "test", "unit_test"]
PAIRED = ["int_paired_predictions_daily", "int_paired_losses_daily", "int_paired_ranks"]


def make_questions() -> pd.DataFrame:
    """One row per task, entity and moment, with its label; some people are asked twice."""
    rng = np.random.default_rng(7)
    frames = []
    for task, n_rows in (("lead_conversion", 3000), ("session_revenue", 1500)):
        asked_at = [
            FIRST + timedelta(seconds=int(s)) for s in rng.integers(N_DAYS * 86400, size=n_rows)
        ]
        rows = pd.DataFrame({"task": task, "as_of_at": asked_at})
        rows["entity_id"] = [
            f"{task}-{number // 10 * 10 if number % 10 == 1 else number}"
            for number in range(n_rows)
        ]
        rows["propensity"] = rng.beta(1, 4, n_rows)
        happens = rng.random(n_rows) < rows["propensity"]
        rows["amount"] = np.where(happens, rng.gamma(2, 20, n_rows).round(2), 0.0)
        frames.append(rows)
    rows = pd.concat(frames, ignore_index=True)
    # What one entity does is seen by each of its questions: the second one stays without an order.
    rows.loc[rows.duplicated(["task", "entity_id"], keep=False), "amount"] = 0.0
    # Nothing arrives any more.
    rows.loc[rows["as_of_at"] > STOPPED, "amount"] = 0.0
    rows["is_binary"] = rows["task"].map(KINDS) == "binary"
    rows["label"] = np.where(rows["is_binary"], rows["amount"] > 0, rows["amount"]).astype(float)
    rows["horizon_ends_at"] = rows["as_of_at"] + rows["task"].map(HORIZONS)
    rows["is_mature"] = rows["horizon_ends_at"] <= NOW
    rows["prediction_date"] = rows["as_of_at"].dt.date
    return rows


def make_answers(questions: pd.DataFrame) -> pd.DataFrame:
    """One row per prediction: versions of differing skill, on parts of the questions."""
    rng = np.random.default_rng(8)
    plans = [
        # version, run kind, noise, share asked, decimals, batch
        ("m1", "backtest", 0.8, 0.2, 2, 0),
        (CHAMPION, "backtest", 0.3, 0.3, 6, 0),
        (CHAMPION, "live", 0.3, 0.8, 6, 0),
        ("m3", "live", 0.5, 0.6, 1, 0),
        ("m3", "backtest", 0.5, 0.3, 1, 1),
        ("incumbent", "live", 1.0, 0.5, 2, 1),
        ("hasty", "live", 1.0, 0.002, 2, 1),
    ]
    frames = []
    for version, run_kind, noise, share, decimals, batch in plans:
        rows = questions[rng.random(len(questions)) < share].copy()
        logits = np.log(rows["propensity"] / (1 - rows["propensity"]))
        score = 1 / (1 + np.exp(-(logits + rng.normal(0, noise, len(rows)))))
        rows["answer"] = np.where(rows["is_binary"], score, 40 * score).round(decimals)
        frames.append(rows.assign(model_version=version, run_kind=run_kind, batch=batch))
    return pd.concat(frames, ignore_index=True)


def deliver_answers(settings: Settings, answers: pd.DataFrame) -> None:
    with warehouse.connect(settings) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into scoring.predictions (task, model_version, run_kind, entity_id, as_of_at, "
            "predicted_at, loaded_at, score, predicted_value, threshold) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    *(row.task, row.model_version, row.run_kind, row.entity_id, row.as_of_at),
                    *(row.as_of_at + HOUR, row.as_of_at + HOUR),
                    *((row.answer, None, 0.3) if row.is_binary else (None, row.answer, None)),
                )
                for row in answers.itertuples()
            ],
        )


def deliver_events(settings: Settings, questions: pd.DataFrame) -> None:
    """Insert a view for every question, an order for its amount, and here and there a broken one.

    All of them are loaded an hour after the question.
    """
    arrived = questions[questions["as_of_at"] <= STOPPED]
    events = [
        (event_id, event_type, row.entity_id, row.entity_id, row.as_of_at + HOUR, amount)
        for row in arrived.itertuples()
        for event_id, event_type, amount in (
            (f"view-{row.Index}", "page_viewed", None),
            (f"order-{row.Index}", "order_completed", row.amount),
            (None, "page_viewed", None),
        )
        if amount != 0 and (event_id is not None or row.Index % 9 == 0)
    ]
    with warehouse.connect(settings) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into tracking.events (event_id, event_type, user_id, session_id, occurred_at, "
            "amount, loaded_at) values (%s, %s, %s, %s, %s, %s, %s)",
            [(*event, event[4]) for event in events],
        )


def register_models(settings: Settings) -> None:
    with warehouse.connect(settings) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into scoring.models (task, model_version, status, algorithm, parameters, "
            "features, trained_at, trained_from, trained_through, judged_from, judged_through, "
            "n_training_rows, n_out_of_time_rows, metrics, reason, artifact, artifact_sha256) "
            "values (%s, %s, %s, 'none', '{}', '{}', %s, %s, %s, %s, %s, 0, 0, '{}', '', '', '')",
            [
                (task, version, status, FIRST, *(FIRST - day * DAY for day in (9, 5, 4, 1)))
                for task in KINDS
                for version, status in STATUSES.items()
            ],
        )


def deliver_assignments(settings: Settings) -> None:
    """Assign to the control arm 10 % where the registry says 20 %, from the tenth day on."""
    with warehouse.connect(settings) as connection:
        connection.execute(
            "insert into scoring.assignments (experiment, entity_id, assigned_at, arm, "
            "offer_amount, loaded_at) select 'lead_coupon', 'lead-' || n, at, "
            "case when n %% case when n < 400 then 5 else 10 end = 0 "
            "then 'control' else 'coupon' end, 0, at "
            "from generate_series(0, 1199) as n, "
            "lateral (select %s + n / 40 * interval '1 day' as at) as a",
            [FIRST],
        )


def build(settings: Settings, *options: str) -> None:
    run_dbt(settings, ["build", *SQL_ONLY, *options], json.dumps({"as_of": NOW.isoformat()}))


@pytest.fixture(scope="module")
def questions() -> pd.DataFrame:
    return make_questions()


@pytest.fixture(scope="module")
def answers(questions: pd.DataFrame) -> pd.DataFrame:
    return make_answers(questions)


@pytest.fixture(scope="module")
def measured(
    make_database: Callable[[str], Settings], questions: pd.DataFrame, answers: pd.DataFrame
) -> Settings:
    """A database built in two steps: some answers come late, for days that were looked at."""
    settings = make_database("comparison")
    deliver_events(settings, questions)
    deliver_assignments(settings)
    register_models(settings)
    for batch in (0, 1):
        deliver_answers(settings, answers[answers["batch"] == batch])
        build(settings)
    return settings


def frame(settings: Settings, query: str) -> pd.DataFrame:
    with warehouse.connect(settings) as connection, connection.cursor(row_factory=dict_row) as c:
        return pd.DataFrame(c.execute(query).fetchall())


# Comparisons -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison(measured: Settings) -> pd.DataFrame:
    rows = frame(measured, "select * from leadlight_metrics.fct_model_comparison")
    assert set(rows["model_version"]) == {CHAMPION}
    return rows.set_index(["task", "other_version", "metric"]).sort_index()


@pytest.fixture(scope="module")
def shared(answers: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The mature rows that the champion and another version share, by task and version."""
    key = ["task", "model_version", "entity_id", "as_of_at"]
    best = answers[answers["is_mature"]].sort_values("run_kind", ascending=False)
    best = best.drop_duplicates(key)
    champion = best[best["model_version"] == CHAMPION]
    others = best[best["model_version"] != CHAMPION]
    pairs = champion.merge(others, on=["task", "entity_id", "as_of_at"], suffixes=("", "_other"))
    return dict(list(pairs.groupby(["task", "model_version_other"])))


def losses(metric: str, label: pd.Series, answer: pd.Series) -> np.ndarray:
    if metric == "log_loss":
        epsilon = np.finfo(float).eps
        return -np.log(np.clip(np.where(label == 1, answer, 1 - answer), epsilon, 1 - epsilon))
    error = answer - label
    return np.abs(error) if metric == "absolute_error" else np.square(error)


def delong(label: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Both areas and the variance of their difference, pair by pair as DeLong (1988) defines it."""
    areas, of_positives, of_negatives = [], [], []
    for score in (one, other):
        positives, negatives = score[label == 1][:, None], score[label == 0][None, :]
        kernel = (positives > negatives) + 0.5 * (positives == negatives)
        areas.append(kernel.mean())
        of_positives.append(kernel.mean(axis=1))
        of_negatives.append(kernel.mean(axis=0))
    weights = np.array([1, -1])
    variance = sum(
        weights @ np.cov(components) @ weights / len(components[0])
        for components in (of_positives, of_negatives)
    )
    return areas[0], areas[1], variance


def test_every_other_version_is_compared(comparison, shared):
    metrics = {
        "binary": {"log_loss", "brier_score", "roc_auc"},
        "regression": {"squared_error", "absolute_error"},
    }
    expected = {(*key, metric) for key in shared for metric in metrics[KINDS[key[0]]]}
    assert set(comparison.index) == expected
    assert {"m1", "m3", "incumbent", "hasty"} == set(comparison.index.get_level_values(1))
    assert set(comparison["other_status"]) == {"retired", "challenger", "external"}
    assert {"better", "undecided"} <= set(comparison["verdict"].dropna())
    for (task, other, _), row in comparison.iterrows():
        days = shared[task, other]["prediction_date"]
        assert row["n_shared"] == len(days)
        assert row["first_prediction_date"] == days.min()
        assert row["last_prediction_date"] == days.max()


def test_the_rows_hold_ties_and_both_run_kinds(answers, shared):
    rows = shared["lead_conversion", "m3"]
    assert rows["answer_other"].nunique() < 12
    assert {*rows["run_kind"]} == {*rows["run_kind_other"]} == {"live", "backtest"}
    key = ["task", "model_version", "entity_id", "as_of_at"]
    assert answers.duplicated(key).sum() > 500


def test_differences_of_losses_are_those_of_a_paired_t_test(comparison, shared):
    n_tested = 0
    for (task, other, metric), row in comparison.iterrows():
        if metric == "roc_auc":
            continue
        rows = shared[task, other]
        one = losses(metric, rows["label"], rows["answer"])
        two = losses(metric, rows["label"], rows["answer_other"])
        assert row["metric_value"] == pytest.approx(one.mean(), rel=1e-9)
        assert row["other_value"] == pytest.approx(two.mean(), rel=1e-9)
        assert row["difference"] == pytest.approx((one - two).mean(), rel=1e-9)
        if len(rows) < 2 or np.ptp(one - two) == 0:
            assert pd.isna([row["difference_lower"], row["p_value"], row["verdict"]]).all()
            continue
        test = stats.ttest_rel(one, two)
        interval = test.confidence_interval(0.95)
        width = interval.high - interval.low
        assert row["difference_lower"] == pytest.approx(interval.low, abs=1e-8 * width)
        assert row["difference_upper"] == pytest.approx(interval.high, abs=1e-8 * width)
        assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-6)
        n_tested += len(rows) > 200
    assert n_tested >= 10


def test_differences_of_areas_are_those_of_delong(comparison, shared):
    n_tested = 0
    for (task, other), rows in shared.items():
        if KINDS[task] != "binary" or rows["label"].nunique() < 2:
            continue
        row = comparison.loc[task, other, "roc_auc"]
        columns = (rows[name].to_numpy() for name in ("label", "answer", "answer_other"))
        area, other_area, variance = delong(*columns)
        assert row["metric_value"] == pytest.approx(area, abs=1e-9)
        assert row["other_value"] == pytest.approx(other_area, abs=1e-9)
        assert row["difference"] == pytest.approx(area - other_area, abs=1e-9)
        if not variance > 0:
            assert pd.isna([row["difference_lower"], row["p_value"], row["verdict"]]).all()
            continue
        margin = stats.norm.ppf(0.975) * np.sqrt(variance)
        assert row["difference_lower"] == pytest.approx(area - other_area - margin, abs=1e-9)
        assert row["difference_upper"] == pytest.approx(area - other_area + margin, abs=1e-9)
        deviate = (area - other_area) / np.sqrt(variance)
        assert row["p_value"] == pytest.approx(2 * stats.norm.sf(abs(deviate)), rel=1e-6)
        n_tested += 1
    assert n_tested >= 3


def test_increments_equal_a_full_refresh(
    measured: Settings, copy_database: Callable[[Settings, str], Settings]
) -> None:
    settings = copy_database(measured, "comparison_anew")
    names = [*PAIRED, "int_label_maturity_daily", "int_deliveries_daily"]

    def contents() -> dict[str, list[tuple]]:
        return {
            name: fetch(
                settings,
                f"select to_jsonb(r) - 'change_number' from leadlight_intermediate.{name} as r "
                "order by 1",
            )
            for name in names
        }

    incremental = contents()
    build(settings, "--full-refresh", "--select", *names)
    assert contents() == incremental
    assert all(incremental.values())


def test_an_increment_touches_what_changed_and_nothing_else(
    measured: Settings, copy_database: Callable[[Settings, str], Settings], answers: pd.DataFrame
) -> None:
    """One late answer: its day is put together anew, and its pairs of versions are ranked anew."""
    settings = copy_database(measured, "comparison_touched")

    def changed(name: str, key: str, before: int) -> set[tuple]:
        query = f"select distinct {key} from leadlight_intermediate.{name} where change_number > %s"
        return set(fetch(settings, query, [before]))

    newest = "select last_value from leadlight.change_numbers"
    before = fetch_value(settings, newest)
    build(settings)
    for name in PAIRED:
        assert not changed(name, "task", before), name
    before = fetch_value(settings, newest)
    late = answers[(answers["model_version"] == CHAMPION) & (answers["run_kind"] == "live")]
    is_answered = late["entity_id"].isin(answers["entity_id"][answers["model_version"] == "m3"])
    late = late[late["is_binary"] & late["is_mature"] & ~is_answered].iloc[:1]
    deliver_answers(settings, late.assign(model_version="m3", run_kind="backtest", answer=0.123))
    build(settings)
    days = changed("int_paired_losses_daily", "task, prediction_date", before)
    assert days == {("lead_conversion", late["prediction_date"].iloc[0])}
    pairs = changed("int_paired_ranks", "task, model_version, other_version", before)
    assert all("m3" in pair or CHAMPION in pair or "m1" in pair for pair in pairs)
    assert ("lead_conversion", CHAMPION, "m3") in pairs


# Maturity --------------------------------------------------------------------------------------


def test_label_maturity_is_that_of_pandas(measured: Settings, answers: pd.DataFrame) -> None:
    key = ["task", "model_version", "run_kind", "prediction_date"]
    found = frame(measured, "select * from leadlight_metrics.fct_label_maturity")
    found = found.set_index(key).sort_index()
    expected = answers.assign(
        positives=answers["is_mature"] & (answers["label"] == 1),
        negatives=answers["is_mature"] & (answers["label"] == 0),
    ).groupby(key)
    expected = pd.DataFrame(
        {
            "n_predictions": expected.size(),
            "n_mature": expected["is_mature"].sum(),
            "n_positives": expected["positives"].sum(),
            "n_negatives": expected["negatives"].sum(),
            "complete_at": expected["horizon_ends_at"].max(),
        }
    ).sort_index()
    assert list(found.index) == list(expected.index)
    for name in ("n_predictions", "n_mature", "complete_at"):
        assert (found[name].to_numpy() == expected[name].to_numpy()).all(), name
    is_binary = found.index.get_level_values(0).map(KINDS) == "binary"
    for name in ("n_positives", "n_negatives"):
        assert found[name][~is_binary].isna().all()
        assert (found[name][is_binary] == expected[name][is_binary]).all(), name
    assert (found["n_pending"] == found["n_predictions"] - found["n_mature"]).all()
    assert (found["n_undefined"] == 0).all()
    assert (found["is_complete"] == (expected["complete_at"] <= NOW)).all()
    assert not found["is_complete"].all()
    share = expected["n_mature"] / expected["n_predictions"]
    np.testing.assert_allclose(found["mature_share"], share, rtol=1e-12)


# Alerts ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alerts(measured: Settings) -> dict[str, dict]:
    rows = frame(measured, "select * from leadlight_metrics.fct_alerts").to_dict("records")
    return {row["rule"]: row for row in rows}


def test_a_split_off_its_share_is_an_alert_by_chi_square(alerts):
    arms = [n % (5 if n < 400 else 10) == 0 for n in range(1200)]
    p_values = []
    for day in range(1, 31):
        n_control, n_assigned = sum(arms[: 40 * day]), 40 * day
        counts = [n_control, n_assigned - n_control]
        test = stats.chisquare(counts, [0.2 * n_assigned, 0.8 * n_assigned])
        p_values.append(test.pvalue)
    is_broken = [p < 0.001 for p in p_values]
    first = 30 - is_broken[::-1].index(False)
    alert = alerts["sample_ratio"]
    assert alert["severity"] == "error"
    assert alert["experiment"] == "lead_coupon"
    assert alert["value"] == pytest.approx(p_values[-1], rel=1e-6)
    assert alert["n_measured"] == 1200
    assert alert["since_date"] == (FIRST + first * DAY).date()
    assert 5 < first < 29
    assert "of 1200 assigned there are 160 in control" in alert["message"]


def test_events_that_stopped_and_broken_ones_are_alerts(alerts, questions):
    arrived = questions[questions["as_of_at"] <= STOPPED]
    loaded_at = arrived["as_of_at"] + HOUR
    n_hours = (NOW - loaded_at.max()) / HOUR
    alert = alerts["stale_events"]
    assert alert["value"] == pytest.approx(n_hours)
    assert alert["since_date"] == loaded_at.max().date()
    assert alert["message"] == (
        f"events: the newest event was loaded {n_hours:.1f} hours ago, more than 36."
    )
    of_last_week = arrived[loaded_at.dt.date > loaded_at.max().date() - 7 * DAY]
    n_broken = (of_last_week.index % 9 == 0).sum()
    n_delivered = len(of_last_week) + n_broken + (of_last_week["amount"] > 0).sum()
    assert alerts["quarantine"]["value"] == pytest.approx(n_broken / n_delivered)
    assert alerts["quarantine"]["n_measured"] == n_delivered


def test_what_is_well_is_no_alert(alerts):
    """Labels are never overdue after a build, nothing waits for a score, and skill stays."""
    assert not {"overdue_labels", "stale_scoring", "volume"} & alerts.keys()
    for alert in alerts.values():
        assert alert["detected_at"] == NOW


def test_a_key_stays_from_run_to_run(
    measured: Settings, copy_database: Callable[[Settings, str], Settings]
) -> None:
    settings = copy_database(measured, "alerts_again")
    keys = "select alert_id, rule, since_date from leadlight_metrics.fct_alerts order by 1"
    before = fetch(settings, keys)
    later = json.dumps({"as_of": (NOW + HOUR).isoformat()})
    run_dbt(settings, ["build", *SQL_ONLY, "--select", "fct_alerts"], later)
    assert fetch(settings, keys) == before


def test_an_empty_project_has_no_alert(make_database: Callable[[str], Settings]) -> None:
    settings = make_database("no_alerts")
    build(settings)
    assert fetch(settings, "select * from leadlight_metrics.fct_alerts") == []
    assert fetch(settings, "select * from leadlight_metrics.fct_model_comparison") == []
