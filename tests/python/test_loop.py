"""The whole loop on simulated data: what it writes, that it is safe to repeat, and how it fails."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg
import pytest
import yaml
from conftest import PROJECT_DIR
from helpers import (
    DBT_SCHEMAS,
    MART_SCHEMAS,
    assert_done,
    assert_one_line,
    content_hashes,
    fetch,
    fetch_value,
    leadlight,
    relations,
)
from scipy.stats import binomtest

from python_scoring import fitting, scoring, training, warehouse
from python_scoring.settings import Settings
from python_scoring.simulation import Simulation, plan_from_project, simulate_business

TASK = "lead_conversion"
WRITTEN = (
    "scoring.predictions",
    "scoring.assignments",
    "scoring.models",
    "scoring.training_trials",
)
CopyDatabase = Callable[[Settings, str], Settings]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    """What was landed in the database `simulated`, before it was landed."""
    until = datetime(2025, 6, 30, tzinfo=UTC)
    return simulate_business(4000, 60, 11, until, **plan_from_project(PROJECT_DIR))


@pytest.fixture(scope="module")
def experiment() -> dict[str, Any]:
    project = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text())
    return project["vars"]["experiments"]["lead_coupon"]


def train_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let a training try one candidate with one setting."""
    simple = fitting.CANDIDATES["binary"]["logistic_regression"]
    only = {"logistic_regression": fitting.Candidate(simple.build, {"C": [0.1]})}
    patch.setitem(fitting.CANDIDATES, "binary", only)


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    train_quickly(monkeypatch)


# What the loop writes --------------------------------------------------------------------------


def test_first_training_makes_the_champion(simulated: Settings) -> None:
    assert fetch(simulated, "select task, model_version, status, reason from scoring.models") == [
        (TASK, "v1", "champion", "there was no champion")
    ]
    n_trials = fetch_value(simulated, "select count(*) from scoring.training_trials")
    assert n_trials > 1


def test_backtest_holds_the_rows_that_judged_the_model(simulated: Settings) -> None:
    ((n_rows, n_outside, n_judged),) = fetch(
        simulated,
        "select count(*), count(*) filter (where as_of_at not between judged_from "
        "and judged_through), min(n_out_of_time_rows) "
        "from scoring.predictions join scoring.models using (task, model_version) "
        "where run_kind = 'backtest'",
    )
    assert (n_rows, n_outside) == (n_judged, 0)
    assert n_rows > 100


def test_every_later_feature_row_has_one_live_prediction(simulated: Settings) -> None:
    live = fetch(
        simulated,
        "select entity_id, as_of_at from scoring.predictions "
        "where model_version = 'v1' and run_kind = 'live' order by 1",
    )
    later = fetch(
        simulated,
        "select entity_id, as_of_at from leadlight_features.fct_lead_conversion_features "
        "where as_of_at > (select judged_through from scoring.models) order by 1",
    )
    assert live == later
    assert len(live) > 100


def test_every_mart_has_rows(simulated: Settings) -> None:
    marts = relations(simulated, MART_SCHEMAS)
    assert len(marts) >= 12
    empty = [name for name in marts if not fetch(simulated, f"select 1 from {name} limit 1")]
    assert empty == []


def test_every_run_is_in_the_diary(simulated: Settings) -> None:
    runs = fetch(
        simulated,
        "select command, status, finished_at >= started_at, details -> 'trained' "
        "from scoring.runs order by run_id limit 2",
    )
    assert [run[:3] for run in runs] == [("run", "succeeded", True)] * 2
    assert [list(run[3]) for run in runs] == [[TASK], []]


def test_status_tells_runs_champion_and_intake(simulated: Settings) -> None:
    result = leadlight(simulated, "status")
    assert_done(result)
    for part in ("succeeded", TASK, "v1", "incumbent", "quarantined"):
        assert part in result.stdout


def test_run_on_empty_landing_tables_is_green(
    make_database: Callable[[str], Settings],
) -> None:
    """A fresh deployment is scheduled from its first day."""
    settings = make_database("fresh_deployment")
    result = leadlight(settings, "run")
    assert_done(result)
    assert "no rows to train on" in " ".join(result.stdout.split())
    assert fetch(settings, "select status from scoring.runs") == [("succeeded",)]
    assert len(relations(settings, MART_SCHEMAS)) >= 12


# Events: nothing vanishes ----------------------------------------------------------------------


def test_received_is_kept_and_duplicates_and_quarantined(
    simulated: Settings, simulation: Simulation
) -> None:
    events = simulation.events
    expected = pd.Series(None, index=events.index, dtype=object)
    for column in ("occurred_at", "user_id", "event_type", "event_id"):
        expected[events[column].isna()] = f"{column} is missing"
    is_future = events["occurred_at"] > events["loaded_at"] + pd.Timedelta(days=1)
    expected[is_future] = "occurred_at is over a day after loaded_at"
    expected[events["amount"] < 0] = "amount is below the minimum of its type"
    valid = events[expected.isna()]

    quarantined = dict(
        fetch(
            simulated,
            "select rejection_reason, count(*) "
            "from leadlight_intermediate.int_events_quarantined group by 1",
        )
    )
    assert quarantined == Counter(expected.dropna())
    assert len(quarantined) == 6
    n_received = fetch_value(simulated, "select count(*) from tracking.events")
    n_kept = fetch_value(simulated, "select count(*) from leadlight_intermediate.int_events")
    n_duplicates = int(valid.duplicated("event_id").sum())
    assert n_duplicates > 0
    assert n_received == n_kept + n_duplicates + sum(quarantined.values()) == len(events)


# Repeating it changes nothing ------------------------------------------------------------------


def test_second_run_scores_nothing_and_changes_no_row(simulated: Settings) -> None:
    names = [*relations(simulated, DBT_SCHEMAS), *WRITTEN]
    assert len(names) > 30
    before = content_hashes(simulated, names)
    result = leadlight(simulated, "run")
    assert_done(result)
    assert "is not due" in result.stdout
    assert "has nothing to score" in result.stdout
    after = content_hashes(simulated, [*relations(simulated, DBT_SCHEMAS), *WRITTEN])
    assert {name for name in before | after if before.get(name) != after.get(name)} == set()


# What the metrics say is what is true ----------------------------------------------------------


def test_uplift_interval_covers_the_true_effect(simulated: Settings) -> None:
    true_effect = fetch_value(
        simulated,
        "select avg(truth.probability_with_coupon - truth.probability_without_coupon) "
        "from scoring.assignments "
        "join simulation.leads as truth on truth.user_id = assignments.entity_id "
        "where assigned_at + interval '14 days' <= now()",
    )
    ((n_mature, n_pending, lower, upper),) = fetch(
        simulated,
        "select n_mature + control_n_mature, n_pending + control_n_pending, "
        "conversion_difference_lower, conversion_difference_upper "
        "from leadlight_metrics.fct_coupon_uplift",
    )
    assert n_mature == fetch_value(simulated, "select count(*) from scoring.assignments")
    assert n_pending == 0
    assert lower < true_effect < upper


def test_trained_model_beats_the_incumbent_on_the_same_leads(simulated: Settings) -> None:
    ((n_leads, loss, incumbent_loss),) = fetch(
        simulated,
        """
        select
            count(*),
            avg(-ln(case when ours.label = 1 then ours.score else 1 - ours.score end)),
            avg(-ln(case when theirs.label = 1 then theirs.score else 1 - theirs.score end))
        from leadlight_intermediate.int_labelled_predictions as ours
        join leadlight_intermediate.int_labelled_predictions as theirs
            on ours.entity_id = theirs.entity_id and ours.as_of_at = theirs.as_of_at
        where ours.run_kind = 'backtest' and ours.model_version = 'v1'
            and theirs.model_version = 'incumbent'
            and ours.label_status = 'mature' and theirs.label_status = 'mature'
        """,
    )
    assert n_leads > 300
    assert loss < incumbent_loss - 0.02


def test_registered_metrics_are_those_of_the_backtest(simulated: Settings) -> None:
    metrics = fetch_value(simulated, "select metrics from scoring.models")
    key = "where model_version = 'v1' and run_kind = 'backtest' and slice_name = 'all'"
    ((n_mature, log_loss, brier_score),) = fetch(
        simulated,
        "select sum(n_mature), cast(sum(sum_log_loss) / sum(n_mature) as double precision), "
        "cast(sum(sum_squared_error) / sum(n_mature) as double precision) "
        f"from leadlight_intermediate.int_classification_daily {key}",
    )
    assert n_mature == fetch_value(simulated, "select n_out_of_time_rows from scoring.models")
    assert log_loss == pytest.approx(metrics["log_loss"], abs=1e-9)
    assert brier_score == pytest.approx(metrics["brier_score"], abs=1e-9)

    # Rank statistic over all pairs, ties at one half.
    roc_auc = fetch_value(
        simulated,
        """
        with rows as (
            select label, score from leadlight_intermediate.int_labelled_predictions
            where model_version = 'v1' and run_kind = 'backtest'
        )
        select cast(avg(case when p.score > n.score then 1 when p.score = n.score then 0.5 else 0
            end) as double precision)
        from rows as p join rows as n on p.label = 1 and n.label = 0
        """,
    )
    assert roc_auc == pytest.approx(metrics["roc_auc"], abs=1e-9)
    shown = fetch(
        simulated,
        "select out_of_time_log_loss, out_of_time_brier_score, out_of_time_roc_auc "
        "from leadlight_shared.dim_model_versions where model_version = 'v1'",
    )
    assert shown == [(metrics["log_loss"], metrics["brier_score"], metrics["roc_auc"])]


# Coupons ---------------------------------------------------------------------------------------


def arm_of(experiment: dict[str, Any], entity_id: str) -> str:
    """The rule as it is published: a salted hash, read as a share."""
    digest = hashlib.md5(f"{experiment['salt']}:{entity_id}".encode()).hexdigest()
    is_control = int(digest[:8], 16) < experiment["holdout_share"] * 2**32
    return experiment["control_arm"] if is_control else experiment["treatment_arm"]


def assert_assignments_are_right(settings: Settings, experiment: dict[str, Any]) -> None:
    rows = fetch(
        settings, "select entity_id, arm, offer_amount from scoring.assignments order by entity_id"
    )
    assert len({entity_id for entity_id, _, _ in rows}) == len(rows)
    assert [arm for _, arm, _ in rows] == [arm_of(experiment, row[0]) for row in rows]
    offers = {experiment["control_arm"]: 0, experiment["treatment_arm"]: experiment["offer_amount"]}
    assert all(amount == offers[arm] for _, arm, amount in rows)
    n_control = sum(arm == experiment["control_arm"] for _, arm, _ in rows)
    assert binomtest(n_control, len(rows), experiment["holdout_share"]).pvalue > 0.001
    ledger = fetch(
        settings,
        "select entity_id, arm, offer_amount from leadlight_activation.fct_coupon_offers "
        "order by entity_id",
    )
    assert ledger == [row for row in rows if row[2] > 0]


def test_arms_are_the_salted_hash_and_the_ledger_is_who_was_promised(
    simulated: Settings, experiment: dict[str, Any]
) -> None:
    assert_assignments_are_right(simulated, experiment)


@pytest.fixture(scope="module")
def with_fresh_leads(simulated: Settings, copy_database: CopyDatabase) -> Settings:
    """A copy in which 300 leads came of scoring age in the last hours, and 20 too long ago."""
    settings = copy_database(simulated, "fresh")
    with warehouse.connect(settings) as connection:
        connection.execute(
            """
            insert into tracking.events
                (event_id, event_type, user_id, occurred_at, properties)
            select
                'created-' || number, 'lead_created', 'fresh-' || number,
                now() - case when number > 300 then interval '80 hours' else interval '30 hours' end
                - number * interval '1 minute',
                jsonb_build_object(
                    'utm_medium', case when number % 3 = 0 then 'referral' else 'social' end,
                    'device', 'desktop', 'country', 'FR', 'company_size', 40
                )
            from generate_series(1, 320) as number
            union all
            -- Every third comes back again and again to see the prices.
            select
                'viewed-' || number || '-' || hour, 'pricing_viewed', 'fresh-' || number,
                now() - hour * interval '1 hour', '{}'
            from generate_series(3, 300, 3) as number, generate_series(18, 29) as hour
            """
        )
    assert_done(leadlight(settings, "run"))
    return settings


def test_fresh_leads_below_the_threshold_are_assigned(
    with_fresh_leads: Settings, experiment: dict[str, Any]
) -> None:
    rows = fetch(
        with_fresh_leads,
        "select predictions.entity_id, score < 0.3, assignments.arm, "
        "predictions.prediction_id = assignments.prediction_id, attributes "
        "from scoring.predictions left join scoring.assignments using (entity_id) "
        "where entity_id like 'fresh-%' and run_kind = 'live'",
    )
    assert len(rows) == 320
    is_assigned = {row[0]: row[2] is not None for row in rows}
    expected = {row[0]: row[1] and int(row[0].split("-")[1]) <= 300 for row in rows}
    assert is_assigned == expected
    assert 50 < sum(is_assigned.values()) < 300  # some are above the threshold
    assert {row[3] for row in rows if row[2] is not None} == {True}
    attributes = {row[0]: row[4] for row in rows}
    assert attributes["fresh-3"] == {"utm_medium": "referral", "device": "desktop", "country": "FR"}
    details = fetch_value(
        with_fresh_leads, "select details from scoring.runs order by run_id desc limit 1"
    )
    assert details["scored"][TASK] == {
        "predictions": 320,
        "assignments": sum(is_assigned.values()),
    }
    assert_assignments_are_right(with_fresh_leads, experiment)


def test_another_champion_assigns_nobody_twice(
    with_fresh_leads: Settings, experiment: dict[str, Any], copy_database: CopyDatabase
) -> None:
    settings = copy_database(with_fresh_leads, "twice")
    before = content_hashes(settings, ["scoring.assignments"])
    with warehouse.connect(settings) as connection, connection.transaction():
        connection.execute("update scoring.models set status = 'retired'")
        connection.execute(
            "insert into scoring.models select (jsonb_populate_record(models, "
            """'{"model_version": "v2", "status": "champion"}')).* from scoring.models"""
        )
    result = leadlight(settings, "score")
    assert_done(result)
    assert "0 assigned" in result.stdout
    rescored = "select count(*) from scoring.predictions where model_version = 'v2'"
    assert fetch_value(settings, rescored) > 320
    assert content_hashes(settings, ["scoring.assignments"]) == before
    assert_assignments_are_right(settings, experiment)


# A run that is killed --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(simulated: Settings, copy_database: CopyDatabase) -> Settings:
    return copy_database(simulated, "scratch")


@pytest.fixture
def unscored(scratch: Settings) -> Iterator[Settings]:
    """A copy in which the champion has scored nothing live yet, and no run was recorded."""
    with warehouse.connect(scratch) as connection:
        connection.execute(
            "delete from scoring.predictions where run_kind = 'live' and model_version = 'v1'"
        )
        connection.execute("truncate scoring.runs")
        ((artifact,),) = connection.execute("select artifact from scoring.models").fetchall()
        yield scratch
        connection.execute("update scoring.models set artifact = %s", [artifact])


@pytest.fixture(scope="module")
def retrained(simulated: Settings, copy_database: CopyDatabase) -> Settings:
    """A copy in which the task was trained a second time, and the metrics built."""
    settings = copy_database(simulated, "retrained")
    with pytest.MonkeyPatch.context() as patch:
        train_quickly(patch)
        assert_done(leadlight(settings, "train"))
    assert_done(leadlight(settings, "run", "--select", "post"))
    return settings


def live_scores(settings: Settings) -> list[tuple]:
    return fetch(
        settings,
        "select entity_id, as_of_at, score, threshold, attributes from scoring.predictions "
        "where run_kind = 'live' and model_version = 'v1' order by 1",
    )


def last_run(settings: Settings) -> tuple:
    query = "select status, error from scoring.runs where command <> 'run' order by run_id desc"
    return fetch(settings, f"{query} limit 1")[0]


def test_scoring_that_fails_half_way_writes_nothing_and_can_be_repeated(
    simulated: Settings, unscored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content_hashes(unscored, WRITTEN)
    monkeypatch.setattr(warehouse, "BATCH_ROWS", 100)
    write_predictions = scoring.write_predictions
    n_batches = 0

    def write_two_batches(*arguments: Any) -> int:
        nonlocal n_batches
        n_batches += 1
        if n_batches == 3:
            raise OSError("the disk\nis gone")
        return write_predictions(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "write_predictions", write_two_batches)
        assert leadlight(unscored, "score").exit_code == 1
    assert n_batches == 3
    assert content_hashes(unscored, WRITTEN) == before
    assert last_run(unscored) == ("failed", "the disk is gone")

    assert_done(leadlight(unscored, "score"))
    assert last_run(unscored) == ("succeeded", None)
    assert live_scores(unscored) == live_scores(simulated)


def test_scoring_that_is_killed_leaves_no_lock_and_no_row(
    simulated: Settings, unscored: Settings
) -> None:
    before = content_hashes(unscored, WRITTEN)
    program = """
        import os, signal
        from python_scoring import scoring
        from python_scoring.cli import main

        write_predictions = scoring.write_predictions

        def write_and_die(*arguments):
            write_predictions(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        scoring.write_predictions = write_and_die
        main(["score"])
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "DBT_PROFILES_DIR": str(unscored.profiles_dir)},
        cwd=PROJECT_DIR,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert last_run(unscored) == ("running", None)
    with warehouse.connect(unscored) as connection:
        # Waits until the server has noticed that the process is gone.
        connection.execute("select pg_advisory_lock(%s)", [warehouse.LOCK_KEY])
    assert content_hashes(unscored, WRITTEN) == before

    assert_done(leadlight(unscored, "score"))
    statuses = "select status from scoring.runs where command = 'score' order by run_id"
    assert fetch(unscored, statuses) == [("abandoned",), ("succeeded",)]
    assert live_scores(unscored) == live_scores(simulated)


def trained(settings: Settings, model_version: str) -> tuple:
    """What a training made, without what tells the time."""
    registered = fetch(
        settings,
        "select status, algorithm, parameters, features, metrics, reason, trained_from, "
        "trained_through, judged_from, judged_through from scoring.models "
        "where model_version = %s",
        [model_version],
    )
    predictions = fetch(
        settings,
        "select entity_id, as_of_at, score from scoring.predictions "
        "where model_version = %s and run_kind = 'backtest' order by 1",
        [model_version],
    )
    return registered, predictions


def test_training_that_fails_half_way_writes_nothing_and_can_be_repeated(
    simulated: Settings,
    retrained: Settings,
    copy_database: CopyDatabase,
    quick_training: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = copy_database(simulated, "training")
    before = content_hashes(settings, WRITTEN)
    write_predictions = training.write_predictions

    def write_and_fail(*arguments: Any) -> int:
        write_predictions(*arguments)
        raise psycopg.errors.DiskFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_predictions", write_and_fail)
        assert_one_line(leadlight(settings, "train"), "no space left")
    assert content_hashes(settings, WRITTEN) == before
    status, error = last_run(settings)
    assert status == "failed"
    assert "no space left" in error

    assert_done(leadlight(settings, "train"))
    assert last_run(settings) == ("succeeded", None)
    assert trained(settings, "v2") == trained(retrained, "v2")
    assert len(trained(settings, "v2")[1]) > 100


def test_run_that_ended_without_a_word_is_abandoned(unscored: Settings) -> None:
    with warehouse.connect(unscored) as connection:
        connection.execute("insert into scoring.runs (command) values ('killed')")
    assert_done(leadlight(unscored, "score"))
    ((status, is_finished, error),) = fetch(
        unscored,
        "select status, finished_at is not null, error from scoring.runs where command = 'killed'",
    )
    assert (status, is_finished) == ("abandoned", True)
    assert error


@pytest.mark.parametrize("command", ["run", "train", "score"])
def test_second_of_two_at_once_leaves(unscored: Settings, command: str) -> None:
    names = [*WRITTEN, "scoring.runs"]
    before = content_hashes(unscored, names)
    with warehouse.connect(unscored) as first, warehouse.exclusive(first) as is_mine:
        assert is_mine
        result = leadlight(unscored, command)
    assert_done(result)
    assert "another run is at work" in result.stdout
    assert content_hashes(unscored, names) == before


# Artifacts and promotion -----------------------------------------------------------------------


def test_tampered_artifact_is_refused(unscored: Settings) -> None:
    with warehouse.connect(unscored) as connection:
        connection.execute(r"update scoring.models set artifact = artifact || '\x00'")
    before = content_hashes(unscored, WRITTEN)
    assert_one_line(leadlight(unscored, "score"), "model v1 of lead_conversion", "SHA-256")
    assert content_hashes(unscored, WRITTEN) == before
    assert last_run(unscored)[0] == "failed"


def test_training_again_mends_a_tampered_champion(
    simulated: Settings, copy_database: CopyDatabase, quick_training: None
) -> None:
    """The refusal says to train the task again; that has to help."""
    settings = copy_database(simulated, "tampered")
    with warehouse.connect(settings) as connection:
        connection.execute(r"update scoring.models set artifact = artifact || '\x00'")
    assert_done(leadlight(settings, "train"))
    assert_done(leadlight(settings, "score"))


def test_retraining_promotes_only_what_is_better_on_unseen_rows(retrained: Settings) -> None:
    ((status, reason),) = fetch(
        retrained, "select status, reason from scoring.models where model_version = 'v2'"
    )
    # Both on the rows that v1 had not seen when v2 was judged: v1 had scored them live.
    ((n_rows, loss, champion_loss),) = fetch(
        retrained,
        """
        select
            count(*),
            avg(-ln(case when v2.label = 1 then v2.score else 1 - v2.score end)),
            avg(-ln(case when v1.label = 1 then v1.score else 1 - v1.score end))
        from leadlight_intermediate.int_labelled_predictions as v2
        join leadlight_intermediate.int_labelled_predictions as v1
            on v2.entity_id = v1.entity_id and v2.as_of_at = v1.as_of_at
        where v2.model_version = 'v2' and v2.run_kind = 'backtest'
            and v1.model_version = 'v1' and v1.run_kind = 'live'
        """,
    )
    assert n_rows >= training.MIN_ROWS_TO_COMPARE
    is_better = loss < champion_loss
    assert status == ("champion" if is_better else "challenger")
    expected = f"log loss {loss:.4f} against {champion_loss:.4f} of v1 on {n_rows} unseen rows"
    assert reason == expected
    champions = "select model_version from scoring.models where status = 'champion'"
    assert fetch(retrained, champions) == [("v2" if is_better else "v1",)]


def test_too_few_unseen_rows_make_a_challenger_that_nobody_acts_on(
    simulated: Settings, copy_database: CopyDatabase, quick_training: None
) -> None:
    settings = copy_database(simulated, "challenger")
    with warehouse.connect(settings) as connection:
        # As if the champion had seen all but the last day.
        connection.execute(
            "update scoring.models set judged_through = (select max(as_of_at) - interval '1 day' "
            "from leadlight_features.fct_lead_conversion_features)"
        )
    current = "select * from leadlight_activation.fct_current_predictions order by 1"
    before = fetch(settings, current)
    result = leadlight(settings, "train")
    assert_done(result)
    assert "v2 is challenger (only" in " ".join(result.stdout.split())
    with warehouse.connect(settings) as connection:
        # Scored in the shadow, later than the champion.
        connection.execute(
            "insert into scoring.predictions (task, model_version, run_kind, entity_id, as_of_at, "
            "score, threshold) select task, 'v2', 'live', entity_id, as_of_at, 0.99, threshold "
            "from scoring.predictions where model_version = 'v1' and run_kind = 'live'"
        )
    assert_done(leadlight(settings, "run", "--select", "post"))
    assert fetch(settings, current) == before
    statuses = "select model_version, status from leadlight_shared.dim_model_versions order by 1"
    assert fetch(settings, statuses) == [
        ("incumbent", "external"),
        ("v1", "champion"),
        ("v2", "challenger"),
    ]
