"""The whole dbt project with all of its tests, as `dbt build` runs them, and its style."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT_DIR
from psycopg.rows import dict_row

from python_scoring import cli, warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

# They bring their own rows: what is in the tables makes no difference to them, once is enough.
WITHOUT_UNIT_TESTS = ("--exclude-resource-type", "unit_test")


@pytest.fixture(scope="module")
def built(
    make_database: Callable[[str], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A database in which the project was built with its data tests, on empty landing tables."""
    settings = make_database("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(tmp_path_factory.mktemp("target")))
        n_nodes = run_dbt(settings, ["build", *WITHOUT_UNIT_TESTS])
    assert n_nodes > 100
    return settings


def test_build_and_tests_pass_twice_on_data(built, tmp_path, monkeypatch):
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    cli.run_simulation(
        built, n_leads=1500, n_days=45, seed=3, until=datetime(2026, 3, 1, tzinfo=UTC)
    )
    for left_out in ((), WITHOUT_UNIT_TESTS):
        run_dbt(built, ["build", *left_out])
        results = json.loads((tmp_path / "run_results.json").read_text())["results"]
        statuses = {result["status"] for result in results}
        # Unknown event types are reported as a warning, and there are some; exposures do nothing.
        assert statuses == {"success", "pass", "warn", "no-op"}


@pytest.fixture(scope="module")
def analyses(simulated: Settings) -> dict[str, list[dict]]:
    """The rows of every analysis, on the last day of the simulated businesses."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as target:
        patch.setenv("DBT_TARGET_PATH", target)
        run_dbt(simulated, ["compile"], "{as_of: '2025-06-30 00:00:00+00'}")
        compiled = sorted(Path(target).glob("compiled/*/analyses/*.sql"))
        with (
            warehouse.connect(simulated) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            return {path.stem: cursor.execute(path.read_text()).fetchall() for path in compiled}


def test_every_analysis_answers_in_the_columns_it_describes(analyses):
    described = yaml.safe_load((PROJECT_DIR / "analyses" / "_analyses.yml").read_text())["analyses"]
    assert {analysis["name"] for analysis in described} == set(analyses)
    for analysis in described:
        rows = analyses[analysis["name"]]
        assert rows, analysis["name"]
        assert [column["name"] for column in analysis["columns"]] == list(rows[0])


def test_sent_labels_are_compared_with_what_the_events_say(analyses, simulated):
    with warehouse.connect(simulated) as connection:
        expected = connection.execute(
            """
            select cast(label as text), cast(not exists (
                select 1 from tracking.events
                where events.user_id = players.user_id
                    and event_id is not null and event_type is not null
                    and occurred_at > as_of_at and occurred_at <= as_of_at + interval '7 days'
                    and occurred_at <= loaded_at + interval '1 day'
                    and coalesce(amount, 0) >= 0
            ) as integer), count(*)
            from simulation.players
            -- One whose registration is still under way when the simulation ends is not known yet.
            where user_id in (
                select user_id from tracking.events where event_type = 'new_registration'
            )
            group by 1, 2
            """
        ).fetchall()
    found = {
        (row["sent_label"], row["label"]): row["n_players"]
        for row in analyses["how_sent_churn_labels_agree"]
    }
    assert found == {(sent, ours): n for sent, ours, n in expected}
    # The simulated operator is wrong now and then, in both directions.
    assert len(found) == 4


def test_channels_hold_every_lead_whose_outcome_is_known(analyses, simulated):
    with warehouse.connect(simulated) as connection:
        ((n_leads, n_buyers, revenue),) = connection.execute(
            """
            select count(*), count(*) filter (where n > 0), sum(amount) from (
                select leads.entity_id, count(events.event_id) as n, sum(events.amount) as amount
                from leadlight_features.fct_lead_conversion_features as leads
                left join leadlight_intermediate.int_events as events
                    on events.user_id = leads.entity_id and event_type = 'order_completed'
                        and occurred_at > as_of_at
                        and occurred_at <= as_of_at + interval '14 days'
                group by leads.entity_id
            ) as outcomes
            """
        ).fetchall()
    rows = analyses["which_channels_bring_buyers"]
    assert sum(row["n_leads"] for row in rows) == n_leads
    assert sum(row["n_buyers"] for row in rows) == n_buyers
    assert sum(row["sum_revenue"] for row in rows) == revenue
    assert len(rows) > 3
    for row in rows:
        assert (
            row["conversion_rate_lower"] <= row["conversion_rate"] <= row["conversion_rate_upper"]
        )
    values = [row["revenue_per_lead"] for row in rows]
    assert values == sorted(values, reverse=True)


def test_leads_order_sooner_or_later_but_not_less(analyses, simulated):
    rows = analyses["how_soon_leads_order"]
    shares = [row["share_ordered"] for row in rows]
    watched = [row["n_watched"] for row in rows]
    assert [row["days_after"] for row in rows] == [1, 2, 3, 5, 7, 10, 14, 21, 28]
    assert watched == sorted(watched, reverse=True)
    assert 0 < shares[0] < shares[-1] < 1
    with warehouse.connect(simulated) as connection:
        ((n_watched, n_ordered),) = connection.execute(
            """
            select count(*), count(*) filter (where exists (
                select 1 from leadlight_intermediate.int_orders
                where int_orders.user_id = int_leads.user_id
                    and ordered_at between landed_at and landed_at + interval '7 days'
            ))
            from leadlight_intermediate.int_leads
            where landed_at <= timestamptz '2025-06-23 00:00:00+00'
            """
        ).fetchall()
    assert (rows[4]["n_watched"], rows[4]["n_ordered"]) == (n_watched, n_ordered)


def test_thresholds_call_whoever_scores_as_much(analyses, simulated):
    rows = analyses["what_a_threshold_would_do"]
    with warehouse.connect(simulated) as connection:
        expected = connection.execute(
            """
            select task, tenths.threshold, count(*), count(*) filter (where label = 1)
            from leadlight_intermediate.int_labelled_predictions
            cross join (select tenth / 10.0 as threshold from generate_series(1, 9) as v (tenth))
                as tenths
            where run_kind = 'backtest' and label_status = 'mature'
                and score >= tenths.threshold
            group by task, tenths.threshold
            """
        ).fetchall()
    expected = {(task, float(threshold)): counts for task, threshold, *counts in expected}
    found = {(row["task"], float(row["threshold"])): row for row in rows}
    assert set(found) >= set(expected) and len(expected) > 20
    for key, row in found.items():
        # A bin of the histogram is as wide as 0.0025, so that a tenth may cut one.
        n, n_positives = expected.get(key, (0, 0))
        assert row["n_called_positive"] == pytest.approx(n, rel=0.03, abs=5), key
        assert row["n_rightly"] == pytest.approx(n_positives, rel=0.03, abs=5), key


def test_weak_slices_are_slices_of_champions(analyses):
    rows = analyses["where_champions_are_weakest"]
    gaps = [row["roc_auc"] - row["roc_auc_of_all"] for row in rows if row["roc_auc"] is not None]
    assert gaps == sorted(gaps) and gaps[0] < 0
    assert all(row["n_mature"] >= 100 and row["model_version"] == "v1" for row in rows)


def test_first_calls_are_the_most_promising(analyses):
    rows = analyses["whom_to_call_first"]
    assert [row["tenth"] for row in rows] == list(range(1, 11))
    expected = [row["expected_orders"] / row["n_leads"] for row in rows]
    assert expected == sorted(expected, reverse=True)
    assert rows[-1]["share_of_orders_so_far"] == pytest.approx(1)
    assert rows[0]["share_of_orders_so_far"] > 0.1


# It makes trees of millions of parts, which the garbage collector would walk again and again for a
# third of the time.
LINT = """
import gc
gc.set_threshold(200_000, 20, 100)
from sqlfluff.cli.commands import cli
cli()
"""


def test_sqlfluff_finds_nothing(built):
    # The dbt templater compiles every model, so it needs a database with the project built.
    result = subprocess.run(
        [
            *(sys.executable, "-c", LINT, "lint", "--disable-progress-bar"),
            *("models", "analyses", "tests/singular"),
        ],
        cwd=PROJECT_DIR,
        env={**os.environ, "DBT_PROFILES_DIR": str(built.profiles_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
