"""Real data sets, from file to mart: converted to contract shape, loaded, run, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from conftest import real_data
from helpers import TASKS, done
from psycopg.rows import dict_row
from scipy.stats import ttest_ind
from sklearn.metrics import log_loss
from sklearn.model_selection import ParameterGrid
from statsmodels.stats.proportion import confint_proportions_2indep

from python_scoring import warehouse
from python_scoring.candidates import CANDIDATES
from python_scoring.settings import Settings

HILLSTROM = {
    "prediction_tasks": {},
    "experiments": {
        "hillstrom": {
            "entity": "user",
            "eligible": "all",
            "control_arm": "No E-Mail",
            "arms": {f"{who} E-Mail": {"share": 1 / 3} for who in ("No", "Mens", "Womens")},
            # An e-mail should bring visits, at least.
            "guardrails": {"page_viewed": "fall"},
            "outcome_event": "order_completed",
            "horizon_days": 14,
            "margin": 0.4,
        }
    },
}
NBA = {
    "experiments": {},
    "prediction_tasks": {
        "home_win": {
            "kind": "binary",
            "entity": "user",
            "outcome_event": "game_won",
            "label_rule": "occurs",
            "horizon_days": 1,
            "default_threshold": 0.5,
        }
    },
}
SHOPPERS = {
    "experiments": {},
    "prediction_tasks": {
        "lead_conversion": TASKS["lead_conversion"] | {"horizon_days": 1, "slices": []}
    },
}

# The last month that is asked about is the last one whose ninety days are within the data.
CDNOW = {
    "calendar_end_date": "1998-04-02",
    "experiments": {},
    "prediction_tasks": {name: TASKS[name] for name in ("customer_churn", "customer_persona")},
}
ESHOP = {
    "experiments": {},
    "prediction_tasks": {
        "session_segment": {
            "kind": "clustering",
            "entity": "session",
            "features_model": "fct_session_features",
        }
    },
}


def convert_hillstrom(source: Path, folder: Path) -> None:
    """Write events.jsonl and assignments.csv; the data have no dates, so days are made up."""
    mails = pd.read_csv(source, dtype={"spend": str})
    user_id = np.array([f"customer-{number:05d}" for number in range(len(mails))])
    day = pd.to_timedelta(np.arange(len(mails)) % 14, "D")
    mailed_at = pd.Timestamp("2008-03-01T12:00:00Z") + day
    attributes = mails[["recency", "history", "mens", "womens", "zip_code", "newbie", "channel"]]
    leads = pd.DataFrame(
        {
            "event_id": "lead-" + pd.Series(user_id),
            "event_type": "lead_created",
            "user_id": user_id,
            "occurred_at": mailed_at - pd.Timedelta(days=1),
            "properties": attributes.to_dict("records"),
        }
    )
    orders = pd.DataFrame(
        {
            "event_id": "order-" + pd.Series(user_id),
            "event_type": "order_completed",
            "user_id": user_id,
            "occurred_at": mailed_at + pd.Timedelta(days=5),
            "amount": mails["spend"],
        }
    )[mails["conversion"] == 1]
    visits = leads.assign(
        event_id="visit-" + pd.Series(user_id),
        event_type="page_viewed",
        occurred_at=mailed_at + pd.Timedelta(days=3),
        properties=None,
    )[mails["visit"] == 1]
    visits.to_json(folder / "visits.jsonl", orient="records", lines=True, date_format="iso")
    leads.to_json(folder / "leads.jsonl", orient="records", lines=True, date_format="iso")
    orders.to_csv(folder / "orders.csv.gz", index=False)
    assignments = pd.DataFrame(
        {
            "experiment": "hillstrom",
            "entity_id": user_id,
            "assigned_at": mailed_at,
            "arm": mails["segment"],
        }
    )
    assignments.to_parquet(folder / "assignments.parquet", index=False)


def convert_nba(source: Path, folder: Path) -> None:
    """Write predictions.csv and events.csv: a game is an entity, a home win its outcome."""
    games = pd.read_csv(source)
    game_id = pd.Series([f"game-{number:04d}" for number in range(len(games))])
    starts_at = pd.to_datetime(games["date"], utc=True)
    predictions = pd.DataFrame(
        {
            "task": "home_win",
            "model_version": "published",
            "entity_id": game_id,
            "as_of_at": starts_at,
            "score": games["prob1"],
            "threshold": 0.5,
        }
    )
    predictions.to_csv(folder / "predictions.csv", index=False)
    events = pd.DataFrame(
        {
            "event_id": game_id,
            "event_type": "game_won",
            "user_id": game_id,
            "occurred_at": starts_at + pd.Timedelta(hours=3),
        }
    )[games["prob1_outcome"] == 1]
    events.to_csv(folder / "events.csv", index=False)


def convert_shoppers(source: Path, folder: Path) -> None:
    """Write events.jsonl: a session is a lead; only months are known, so days are made up."""
    visits = pd.read_csv(source, sep=";")
    month = pd.to_datetime("2025-" + visits["Month"].str[:3] + "-01", format="%Y-%b-%d", utc=True)
    place = visits.groupby("Month").cumcount() / visits.groupby("Month")["Month"].transform("size")
    landed_at = month + pd.to_timedelta(place * 28, "D").dt.round("s")
    user_id = pd.Series([f"visitor-{number:05d}" for number in range(len(visits))])
    leads = pd.DataFrame(
        {
            "event_id": "lead-" + user_id,
            "event_type": "lead_created",
            "user_id": user_id,
            "occurred_at": landed_at,
            "properties": visits.drop(columns=["Revenue"]).to_dict("records"),
        }
    )
    orders = leads[visits["Revenue"]].assign(
        event_id="order-" + user_id,
        event_type="order_completed",
        occurred_at=landed_at + pd.Timedelta(hours=36),
        amount=1,
        properties=None,
    )
    for name, events in (("leads", leads), ("orders", orders)):
        events.to_json(folder / f"{name}.jsonl", orient="records", lines=True, date_format="iso")


def convert_cdnow(source: Path, folder: Path) -> None:
    """Write orders.csv: one event per transaction, at midnight of its day."""
    transactions = pd.read_csv(source, dtype=str)
    orders = pd.DataFrame(
        {
            "event_id": [f"order-{number:05d}" for number in range(len(transactions))],
            "event_type": "order_completed",
            "user_id": transactions["customer_id"],
            "occurred_at": transactions["date"] + "T00:00:00Z",
            "amount": transactions["price"],
            "properties": '{"quantity": ' + transactions["quantity"] + "}",
        }
    )
    orders.to_csv(folder / "orders.csv", index=False)


def read_eshop(source: Path) -> pd.DataFrame:
    """Return one row per click; only days are known, so clicks of a visit are a second apart."""
    file = pd.read_csv(source, sep=";")
    day = pd.to_datetime(file[["year", "month", "day"]], utc=True)
    return pd.DataFrame(
        {
            "session_id": file["session ID"].astype(str),
            "click_number": file["order(sells)"],
            "day": day,
            "occurred_at": day + pd.to_timedelta(file["order(sells)"], "s"),
            "product": file["page 2 (clothing model)"],
            "category": file["page 1 (main category)"].astype(str),
            "price": file["price"],
            "page": file["page"].astype(str),
            "country": file["country"].astype(str),
        }
    )


def convert_eshop(source: Path, folder: Path) -> None:
    """Write clicks.jsonl: each click shows a product, and a visit is a person of its own."""
    clicks = read_eshop(source)
    properties = clicks[["product", "category", "price", "page", "country"]]
    events = pd.DataFrame(
        {
            "event_id": clicks["session_id"] + "-" + clicks["click_number"].astype(str),
            "event_type": "product_viewed",
            "user_id": clicks["session_id"],
            "session_id": clicks["session_id"],
            "occurred_at": clicks["occurred_at"],
            "properties": properties.to_dict("records"),
        }
    )
    events.to_json(folder / "clicks.jsonl", orient="records", lines=True, date_format="iso")


@pytest.fixture
def play(
    make_database: Callable[[str], Settings], tmp_path: Path
) -> Callable[..., psycopg.Connection]:
    """Return a function that loads files into an own database and goes once round the loop."""

    def play(name: str, registry: dict, **files: str) -> psycopg.Connection:
        settings = make_database(name)
        for key, file in files.items():
            kind = key.split("_")[0]
            assert "rejected" not in done(settings, "load", kind, str(tmp_path / file))
        done(settings, "run", "--vars", json.dumps(registry))
        return warehouse.connect(settings)

    return play


def test_hillstrom_uplifts(play, tmp_path):
    convert_hillstrom(real_data("hillstrom.csv.gz"), tmp_path)
    connection = play(
        "hillstrom",
        HILLSTROM,
        events_leads="leads.jsonl",
        events_orders="orders.csv.gz",
        events_visits="visits.jsonl",
        assignments="assignments.parquet",
    )
    # Conversion, money and the sizes of three arms, to the last digit that was published.
    published = {
        "Mens E-Mail": (21_307, 267, "30311.69", 0.006805006519615695, 0.7698271558945368),
        "Womens E-Mail": (21_387, 189, "23038.11", 0.003111057511085258, 0.4244122159365967),
    }
    z = {"Mens E-Mail": 7.385114410925771, "Womens E-Mail": 3.77956095835785}
    visits = {"Mens E-Mail": 3_894, "Womens E-Mail": 3_238}
    samples = pd.read_csv(real_data("hillstrom.csv.gz")).groupby("segment")
    spends = {arm: rows["spend"] for arm, rows in samples}
    found = {
        (row["arm"], row["metric"]): row
        for row in connection.cursor(row_factory=dict_row).execute(
            "select * from leadlight_intermediate.int_experiment_comparisons "
            "where window_name = 'all' and slice_name = 'all'"
        )
    }
    assert {arm for arm, _ in found} == set(published)
    for arm, (n, n_converted, revenue, uplift, spend_uplift) in published.items():
        conversion, money = found[arm, "conversion"], found[arm, "revenue"]
        assert (conversion["n_assigned"], conversion["control_n_assigned"]) == (n, 21_306)
        assert (conversion["total"], conversion["control_total"]) == (n_converted, 122)
        assert (str(money["total"]), str(money["control_total"])) == (revenue, "13908.33")
        assert conversion["difference"] == pytest.approx(uplift, abs=1e-12, rel=0)
        assert conversion["pooled_z"] == pytest.approx(z[arm], abs=1e-12, rel=0)
        assert money["difference"] == pytest.approx(spend_uplift, abs=1e-12, rel=0)
        low, high = confint_proportions_2indep(
            n_converted, n, 122, 21_306, method="newcomb", compare="diff"
        )
        assert conversion["difference_lower"] == pytest.approx(low, rel=1e-9)
        assert conversion["difference_upper"] == pytest.approx(high, rel=1e-9)
        test = ttest_ind(spends[arm], spends["No E-Mail"], equal_var=False)
        interval = test.confidence_interval(0.95)
        assert money["difference_lower"] == pytest.approx(interval.low, rel=1e-9)
        assert money["difference_upper"] == pytest.approx(interval.high, rel=1e-9)
        assert money["p_value"] == pytest.approx(test.pvalue, rel=1e-8)
    guarded = connection.execute(
        "select arm, n_with_event, control_n_with_event "
        "from leadlight_metrics.fct_experiment_guardrails"
    ).fetchall()
    assert {arm: (n, control) for arm, n, control in guarded} == {
        arm: (n, 2_262) for arm, n in visits.items()
    }
    ((trusted,),) = connection.execute(
        "select bool_and(is_trustworthy) from leadlight_metrics.fct_coupon_uplift "
        "where slice_name = 'all'"
    ).fetchall()
    assert trusted
    n_leads = connection.execute(
        "select count(*) from leadlight_intermediate.int_leads"
    ).fetchone()[0]
    assert n_leads == 64_000


def test_nba_calibration(play, tmp_path):
    convert_nba(real_data("nba_games.csv.gz"), tmp_path)
    connection = play("nba", NBA, predictions="predictions.csv", events="events.csv")
    bins = connection.execute(
        "select n_mature, n_positives, mean_score from leadlight_metrics.fct_calibration "
        "where slice_name = 'all' and window_name = 'all_time' and binning = 'equal_width' "
        "order by calibration_bin"
    ).fetchall()
    n = [row[0] for row in bins]
    assert n == [23, 176, 457, 727, 1056, 1345, 1655, 1588, 1404, 455]
    error = sum(abs(positives - mature * score) for mature, positives, score in bins) / sum(n)
    ((stated,),) = connection.execute(
        "select expected_calibration_error from leadlight_metrics.fct_classifier_metrics "
        "where slice_name = 'all' and window_name = 'all_time'"
    ).fetchall()
    for found in (error, stated):
        assert found == pytest.approx(0.04835244892901646, abs=1e-9, rel=0)
    assert sum(row[1] for row in bins) / sum(n) == pytest.approx(0.5716857978843124, abs=1e-12)

    def weighted(column: str, where: str = "true") -> float:
        return connection.execute(
            f"select sum({column} * n_mature) / sum(n_mature) "
            f"from leadlight_metrics.fct_classifier_metrics_daily "
            f"where slice_name = 'all' and {where}"
        ).fetchone()[0]

    assert weighted("mean_score") == pytest.approx(0.619149025436802, abs=1e-9)
    assert weighted("brier_score") == pytest.approx(0.21465398585945136, abs=1e-9)
    assert weighted("log_loss") == pytest.approx(0.6190933544681709, abs=1e-9)


def test_online_shoppers_champion(play, tmp_path):
    convert_shoppers(real_data("online_shoppers_intention.csv.gz"), tmp_path)
    connection = play(
        "shoppers", SHOPPERS, events_leads="leads.jsonl", events_orders="orders.jsonl"
    )
    champion = connection.execute(
        "select out_of_time_roc_auc, n_training_rows, n_out_of_time_rows, judged_from::date "
        "from leadlight_shared.dim_model_versions where status = 'champion'"
    ).fetchone()
    assert champion[0] >= 0.82
    assert champion[1] + champion[2] == 12_330
    written = connection.execute(
        "select count(*), count(*) filter (where label_status = 'mature') "
        "from leadlight_intermediate.int_labelled_predictions where run_kind = 'backtest'"
    ).fetchone()
    assert written == (champion[2], champion[2])

    # Every point of every grid was tried, and the best of them won.
    trials = connection.execute(
        "select algorithm, parameters from scoring.training_trials order by mean_score desc, trial"
    ).fetchall()
    tried = {(algorithm, frozenset(parameters.items())) for algorithm, parameters in trials}
    assert len(tried) == len(trials)
    assert tried == {
        (algorithm, frozenset(point.items()))
        for algorithm, candidate in CANDIDATES["binary"].items()
        for point in ParameterGrid(candidate.grid)
    }
    won = connection.execute("select algorithm, parameters from scoring.models").fetchall()
    assert won == trials[:1]


def test_cdnow_churn_and_personas(play, tmp_path, train_quickly):
    # The whole grid on a quarter of a million rows would take minutes.
    convert_cdnow(real_data("cdnow_transactions.csv.gz"), tmp_path)
    connection = play("cdnow", CDNOW, events="orders.csv")

    totals = connection.execute(
        "select count(*), count(distinct user_id), sum(amount)::text, "
        "sum((properties ->> 'quantity')::int) from leadlight_intermediate.int_events"
    ).fetchone()
    assert totals == (69_659, 23_570, "2500315.63", 167_881)

    # As of the first of April, which is ninety days before the last order.
    churned, ordered, ordered_that_day_alone, n_orders, sum_revenue = connection.execute(
        "select count(*) filter (where label = 1), count(*) filter (where label = 0), "
        "count(*) filter (where label = 1 and recency_days = 0), "
        "sum(n_orders)::int, sum(sum_revenue)::text "
        "from leadlight_features.fct_customer_features as features "
        "join leadlight_intermediate.int_labels as labels using (entity_id, as_of_at) "
        "where label_name = 'customer_churn' and as_of_at = '1998-04-01' "
        "and label_status = 'mature'"
    ).fetchone()
    assert (churned, ordered) == (20_269, 3_301)
    # Orders of that very day are known already: counted as the future, 3,317 had ordered.
    assert ordered + ordered_that_day_alone == 3_317
    orders = pd.read_csv(tmp_path / "orders.csv", dtype={"amount": str})
    known = orders[orders["occurred_at"] <= "1998-04-01T00:00:00Z"]
    assert n_orders == len(known)
    assert sum_revenue == str(sum(map(Decimal, known["amount"])))

    scores = connection.execute(
        "select label, score, as_of_at from leadlight_intermediate.int_labelled_predictions "
        "where task = 'customer_churn' and run_kind = 'backtest' and label_status = 'mature'"
    ).fetchall()
    label, score, as_of_at = map(np.array, zip(*scores, strict=True))
    assert sorted({f"{at:%Y-%m-%d}" for at in as_of_at}) == [
        "1998-02-01",
        "1998-03-01",
        "1998-04-01",
    ]
    # The best that a constant can do is the base rate of the very rows that are judged.
    assert log_loss(label, score) < 0.9 * log_loss(label, np.full(len(label), label.mean()))
    roc_auc = connection.execute(
        "select out_of_time_roc_auc from leadlight_shared.dim_model_versions "
        "where task = 'customer_churn' and status = 'champion'"
    ).fetchone()[0]
    assert roc_auc > 0.7

    personas = connection.execute(
        "select n_predictions, n_segments, n_sampled, silhouette "
        "from leadlight_metrics.fct_segment_metrics_daily where task = 'customer_persona'"
    ).fetchall()
    sizes = connection.execute(
        "select segment_name, n_predictions from leadlight_metrics.fct_segment_sizes_daily "
        "where task = 'customer_persona'"
    ).fetchall()
    ((n_predictions, n_segments, n_sampled, silhouette),) = personas
    assert (n_predictions, n_segments, n_sampled) == (23_570, len(sizes), 200)
    assert sum(size for _, size in sizes) == 23_570
    assert len({name for name, _ in sizes}) == len(sizes) >= 2
    assert silhouette > 0.25


def eshop_features(clicks: pd.DataFrame) -> pd.DataFrame:
    """Recompute the features of visits, one row per visit, from all clicks of the shop."""
    by_day = clicks.groupby(["category", "day"])["price"].agg(["sum", "size"])
    earlier = by_day.groupby("category").cumsum().groupby("category").shift()
    ratio = (
        clicks["price"]
        / (earlier["sum"] / earlier["size"])
        .loc[pd.MultiIndex.from_frame(clicks[["category", "day"]])]
        .to_numpy()
    )
    # Scored at the fifth click; nobody takes ten minutes for it.
    known = clicks.assign(ratio=ratio)[clicks["click_number"] <= 5]
    visits = known.sort_values("click_number").groupby("session_id")
    features = visits.agg(
        last_page=("page", "last"),
        last_category=("category", "last"),
        country=("country", "first"),
        n_clicks=("product", "size"),
        n_products=("product", "nunique"),
        n_categories=("category", "nunique"),
        mean_price=("price", "mean"),
        highest_price=("price", "max"),
        mean_price_ratio=("ratio", "mean"),
        day=("day", "first"),
    )
    features["click_sequence_length"] = visits["page"].agg(
        lambda pages: (pages != pages.shift()).sum()
    )
    features["has_price_above_category_mean"] = visits["ratio"].max() > 1
    features["is_bounce_so_far"] = features["n_clicks"] == 1
    features["session_seconds"] = features["n_clicks"] - 1.0
    features["started_hour"] = 0
    features["started_weekday"] = features["day"].dt.day_of_week + 1
    waited = np.where(features["n_clicks"] == 5, 5, 601)
    features["as_of_at"] = features.pop("day") + pd.to_timedelta(waited, "s")
    return features


def test_eshop_features_and_segments(play, tmp_path):
    source = real_data("e-shop_clothing_2008.csv.gz")
    convert_eshop(source, tmp_path)
    connection = play("eshop", ESHOP, events="clicks.jsonl")
    clicks = read_eshop(source)
    kept = connection.execute(
        "select count(*), count(distinct session_id) from leadlight_intermediate.int_events"
    ).fetchone()
    assert kept == (165_474, 24_026)

    with connection.cursor(row_factory=dict_row) as cursor:
        found = pd.DataFrame(
            cursor.execute("select * from leadlight_features.fct_session_features").fetchall()
        ).set_index("entity_id")
    assert len(found) == 24_026
    assert found["device"].isna().all()
    found = found.drop(columns=["user_id", "device", "change_number"])
    sampled = found.sample(1_000, random_state=1)
    expected = eshop_features(clicks).loc[sampled.index, sampled.columns]
    assert expected["mean_price_ratio"].notna().sum() > 900
    for name in expected:
        if name in ("mean_price", "highest_price", "mean_price_ratio"):
            numbers = sampled[name].astype(float)
            np.testing.assert_allclose(numbers, expected[name], rtol=1e-13, err_msg=name)
        else:
            assert sampled[name].tolist() == expected[name].tolist(), name

    sizes = connection.execute(
        "select segment, segment_name, sum(n_predictions)::int "
        "from leadlight_metrics.fct_segment_sizes_daily "
        "where task = 'session_segment' group by segment, segment_name"
    ).fetchall()
    assert sum(size for _, _, size in sizes) == 24_026
    assert len({name for _, name, _ in sizes}) == len(sizes) >= 2
    n_days, lowest = connection.execute(
        "select count(*), min(silhouette) from leadlight_metrics.fct_segment_metrics_daily "
        "where task = 'session_segment'"
    ).fetchone()
    assert n_days == clicks["day"].nunique()
    assert lowest > 0
