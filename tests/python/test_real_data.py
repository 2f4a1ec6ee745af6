"""Real data sets, from file to mart: converted to contract shape, loaded, run, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from click.testing import CliRunner
from conftest import real_data

from python_scoring import warehouse
from python_scoring.cli import main
from python_scoring.settings import Settings

HILLSTROM = {
    "prediction_tasks": {},
    "experiments": {
        "hillstrom": {
            "entity": "user",
            "eligible": "all",
            "control_arm": "No E-Mail",
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
        "lead_conversion": {
            "kind": "binary",
            "entity": "user",
            "features_model": "fct_lead_conversion_features",
            "outcome_event": "order_completed",
            "label_rule": "occurs",
            "horizon_days": 1,
            "default_threshold": 0.5,
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


@pytest.fixture
def play(
    make_database: Callable[[str], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., psycopg.Connection]:
    """Return a function that loads files into an own database and goes once round the loop."""

    def play(name: str, registry: dict, **files: str) -> psycopg.Connection:
        settings = make_database(name)
        monkeypatch.setenv("DBT_PROFILES_DIR", str(settings.profiles_dir))
        monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
        loads = [["load", key.split("_")[0], str(tmp_path / file)] for key, file in files.items()]
        for command in [*loads, ["run", "--vars", json.dumps(registry)]]:
            result = CliRunner().invoke(main, command)
            assert result.exit_code == 0, result.output
            assert "rejected" not in result.output
        return warehouse.connect(settings)

    return play


def test_hillstrom_uplifts(play, tmp_path):
    convert_hillstrom(real_data("hillstrom.csv.gz"), tmp_path)
    connection = play(
        "hillstrom",
        HILLSTROM,
        events_leads="leads.jsonl",
        events_orders="orders.csv.gz",
        assignments="assignments.parquet",
    )
    rows = connection.execute(
        "select arm, n_assigned, control_n_assigned, n_converted, control_n_converted, "
        "sum_revenue, control_sum_revenue, conversion_difference, revenue_difference "
        "from leadlight_metrics.fct_coupon_uplift order by arm"
    ).fetchall()
    uplift = {row[0]: row[1:] for row in rows}
    assert list(uplift) == ["Mens E-Mail", "Womens E-Mail"]
    mens, womens = uplift["Mens E-Mail"], uplift["Womens E-Mail"]
    assert mens[:4] == (21_307, 21_306, 267, 122)
    assert womens[:4] == (21_387, 21_306, 189, 122)
    assert [str(money) for money in (mens[4], mens[5])] == ["30311.69", "13908.33"]
    assert str(womens[4]) == "23038.11"
    assert mens[6] == pytest.approx(0.006805006519615695, abs=1e-12, rel=0)
    assert womens[6] == pytest.approx(0.003111057511085258, abs=1e-12, rel=0)
    assert mens[7] == pytest.approx(0.7698271558945368, abs=1e-12, rel=0)
    assert womens[7] == pytest.approx(0.4244122159365967, abs=1e-12, rel=0)
    n_leads = connection.execute(
        "select count(*) from leadlight_intermediate.int_leads"
    ).fetchone()[0]
    assert n_leads == 64_000


def test_nba_calibration(play, tmp_path):
    convert_nba(real_data("nba_games.csv.gz"), tmp_path)
    connection = play("nba", NBA, predictions="predictions.csv", events="events.csv")
    bins = connection.execute(
        "select sum(n_mature)::int, sum(n_positives)::int, sum(sum_score)::float "
        "from leadlight_metrics.fct_calibration_daily where slice_name = 'all' "
        "group by calibration_bin order by calibration_bin"
    ).fetchall()
    n = [row[0] for row in bins]
    assert n == [23, 176, 457, 727, 1056, 1345, 1655, 1588, 1404, 455]
    error = sum(abs(positives - scores) for _, positives, scores in bins) / sum(n)
    assert error == pytest.approx(0.04835244892901646, abs=1e-9, rel=0)
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
    assert champion[0] >= 0.80
    assert champion[1] + champion[2] == 12_330
    written = connection.execute(
        "select count(*), count(*) filter (where label_status = 'mature') "
        "from leadlight_intermediate.int_labelled_predictions where run_kind = 'backtest'"
    ).fetchone()
    assert written == (champion[2], champion[2])
