"""The whole loop on simulated data: what it writes, that it is safe to repeat, and how it fails."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from conftest import ONCE_MATURE, SIMULATED_UNTIL
from helpers import (
    DBT_SCHEMAS,
    EXPERIMENTS,
    MART_SCHEMAS,
    PROJECT_DIR,
    TASKS,
    assert_done,
    assert_one_line,
    content_hashes,
    done,
    execute,
    fetch,
    fetch_value,
    leadlight,
    quick_training,
    relations,
)
from scipy.stats import binomtest

from python_scoring import scoring, training, warehouse
from python_scoring.settings import Settings
from python_scoring.simulation import Simulation, plan_from_project, simulate

# The task of which there are an incumbent and an experiment; where it is cheap, all are looked at.
TASK = "lead_conversion"
EXPERIMENT = EXPERIMENTS["lead_coupon"]
BINARY = [task for task, entry in TASKS.items() if entry["kind"] == "binary"]
SUPERVISED = [task for task, entry in TASKS.items() if entry["kind"] != "clustering"]
WRITTEN = (
    "scoring.predictions",
    "scoring.assignments",
    "scoring.experiments",
    "scoring.models",
    "scoring.training_trials",
    "scoring.feature_importances",
    "scoring.partial_dependence",
    "scoring.curves",
    "scoring.segments",
    "scoring.cluster_profiles",
)
CopyDatabase = Callable[[Settings, str], Settings]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    """What was landed in the database `simulated`, before it was landed."""
    return simulate(4000, 60, 11, SIMULATED_UNTIL, **plan_from_project(PROJECT_DIR))


# What the loop writes --------------------------------------------------------------------------


def test_first_training_makes_the_champion_of_each_task(simulated: Settings) -> None:
    models = fetch(
        simulated, "select task, model_version, status, reason from scoring.models order by task"
    )
    assert models == [(task, "v1", "champion", "there was no champion") for task in sorted(TASKS)]
    tried = fetch(simulated, "select distinct task from scoring.training_trials order by task")
    assert tried == [(task,) for task in sorted(TASKS)]


def test_backtest_holds_the_rows_that_judged_the_model(simulated: Settings) -> None:
    backtests = fetch(
        simulated,
        "select task, count(*), n_out_of_time_rows, count(*) filter (where as_of_at not between "
        "judged_from and judged_through) "
        "from scoring.predictions join scoring.models using (task, model_version) "
        "where run_kind = 'backtest' group by task, n_out_of_time_rows order by task",
    )
    assert [row[0] for row in backtests] == sorted(SUPERVISED)
    for task, n_rows, n_judged, n_outside in backtests:
        assert (n_rows, n_outside) == (n_judged, 0), task
        assert n_rows > 100, task


@pytest.mark.parametrize("task", SUPERVISED)
def test_every_later_feature_row_has_one_live_prediction(simulated: Settings, task: str) -> None:
    live = fetch(
        simulated,
        "select entity_id, as_of_at from scoring.predictions "
        "where task = %s and model_version = 'v1' and run_kind = 'live' order by 1, 2",
        [task],
    )
    later = fetch(
        simulated,
        f"select entity_id, as_of_at from leadlight_features.{TASKS[task]['features_model']} "
        "where as_of_at > (select judged_through from scoring.models where task = %s) "
        "order by 1, 2",
        [task],
    )
    assert live == later
    assert len(live) > 50


def test_clustering_places_the_newest_row_of_each_entity(simulated: Settings) -> None:
    placed = fetch(
        simulated,
        "select entity_id, max(as_of_at) from scoring.predictions "
        "where task = 'customer_persona' group by entity_id order by 1",
    )
    newest = fetch(
        simulated,
        "select entity_id, max(as_of_at) from leadlight_features.fct_customer_features "
        "group by entity_id order by 1",
    )
    assert placed == newest
    # Once on the last day, and once more at the first of July.
    n_times = fetch_value(
        simulated,
        "select count(distinct as_of_at) from scoring.predictions where task = 'customer_persona'",
    )
    assert n_times == 2


def test_every_mart_has_rows(simulated: Settings) -> None:
    marts = relations(simulated, MART_SCHEMAS)
    assert len(marts) >= 25
    empty = [name for name in marts if not fetch(simulated, f"select 1 from {name} limit 1")]
    assert empty == []


def test_every_run_is_in_the_diary(simulated: Settings) -> None:
    runs = fetch(
        simulated,
        "select command, status, finished_at >= started_at, details -> 'trained' "
        "from scoring.runs order by run_id limit 2",
    )
    assert [run[:3] for run in runs] == [("run", "succeeded", True)] * 2
    assert [sorted(run[3]) for run in runs] == [sorted(TASKS), []]


def test_run_on_empty_landing_tables_is_green(
    make_database: Callable[[str], Settings],
) -> None:
    """A fresh deployment is scheduled from its first day."""
    settings = make_database("fresh_deployment")
    said = " ".join(done(settings, "run").split())
    for task in TASKS:
        assert f"{task}: no rows to train on" in said
    assert fetch(settings, "select status from scoring.runs") == [("succeeded",)]
    assert len(relations(settings, MART_SCHEMAS)) >= 25


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
    said = done(simulated, "run", "--vars", ONCE_MATURE)
    for task in TASKS:
        assert f"{task} is not due" in said
        assert f"{task} v1 has nothing to score" in said
    after = content_hashes(simulated, [*relations(simulated, DBT_SCHEMAS), *WRITTEN])
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    # These tell how long something has not come, and when they were asked.
    clocks = ("int_alert_delays", "int_alert_intake", "int_alert_measurements", "fct_alerts")
    assert {name for name in changed if not name.endswith(clocks)} == set()


# What the metrics say is what is true ----------------------------------------------------------


def test_uplift_interval_covers_the_true_effect(simulated: Settings) -> None:
    # Whom no coupon reached was not moved by one.
    true_effect = fetch_value(
        simulated,
        "select avg(probability_with_coupon - probability_without_coupon) "
        "* avg(cast(got_coupon as integer)) filter (where truth.arm <> %s) "
        "from scoring.assignments "
        "join simulation.leads as truth on truth.user_id = assignments.entity_id "
        "where assigned_at + interval '14 days' <= now()",
        [EXPERIMENT["control_arm"]],
    )
    ((n_mature, n_pending, lower, upper),) = fetch(
        simulated,
        "select n_mature + control_n_mature, n_pending + control_n_pending, "
        "difference_lower, difference_upper "
        "from leadlight_metrics.fct_coupon_uplift "
        "where metric = 'conversion' and slice_name = 'all'",
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
            using (task, entity_id, as_of_at)
        where task = %s and ours.run_kind = 'backtest' and ours.model_version = 'v1'
            and theirs.model_version = 'incumbent'
            and ours.label_status = 'mature' and theirs.label_status = 'mature'
        """,
        [TASK],
    )
    assert n_leads > 300
    assert loss < incumbent_loss - 0.02


@pytest.mark.parametrize("task", BINARY)
def test_registered_metrics_are_those_of_the_backtest(simulated: Settings, task: str) -> None:
    ((metrics, n_judged),) = fetch(
        simulated, "select metrics, n_out_of_time_rows from scoring.models where task = %s", [task]
    )
    ((n_mature, log_loss, brier_score),) = fetch(
        simulated,
        "select sum(n_mature), cast(sum(sum_log_loss) / sum(n_mature) as double precision), "
        "cast(sum(sum_squared_error) / sum(n_mature) as double precision) "
        "from leadlight_intermediate.int_classification_daily "
        "where task = %s and model_version = 'v1' and run_kind = 'backtest' "
        "and slice_name = 'all'",
        [task],
    )
    assert n_mature == n_judged
    assert log_loss == pytest.approx(metrics["log_loss"], abs=1e-9)
    assert brier_score == pytest.approx(metrics["brier_score"], abs=1e-9)

    # Rank statistic over all pairs, ties at one half.
    roc_auc = fetch_value(
        simulated,
        """
        with rows as (
            select label, score from leadlight_intermediate.int_labelled_predictions
            where task = %s and model_version = 'v1' and run_kind = 'backtest'
        )
        select cast(avg(case when p.score > n.score then 1 when p.score = n.score then 0.5 else 0
            end) as double precision)
        from rows as p join rows as n on p.label = 1 and n.label = 0
        """,
        [task],
    )
    assert roc_auc == pytest.approx(metrics["roc_auc"], abs=1e-9)
    shown = fetch(
        simulated,
        "select out_of_time_log_loss, out_of_time_brier_score, out_of_time_roc_auc "
        "from leadlight_shared.dim_model_versions where task = %s and model_version = 'v1'",
        [task],
    )
    assert shown == [(metrics["log_loss"], metrics["brier_score"], metrics["roc_auc"])]


# Coupons ---------------------------------------------------------------------------------------


def arm_of(entity_id: str) -> str:
    """The rule as it is published: a salted hash, read as a share of what the arms share out."""
    digest = hashlib.md5(f"{EXPERIMENT['salt']}:{entity_id}".encode()).hexdigest()
    share = int(digest[:8], 16) / 2**32
    for arm in sorted(EXPERIMENT["arms"], key=lambda arm: arm != EXPERIMENT["control_arm"]):
        share -= EXPERIMENT["arms"][arm]["share"]
        if share < 0:
            break
    return arm


def assert_assignments_are_right(settings: Settings) -> None:
    rows = fetch(
        settings, "select entity_id, arm, offer_amount from scoring.assignments order by entity_id"
    )
    assert len({entity_id for entity_id, _, _ in rows}) == len(rows)
    assert [arm for _, arm, _ in rows] == [arm_of(row[0]) for row in rows]
    offers = {arm: fields.get("offer_amount", 0) for arm, fields in EXPERIMENT["arms"].items()}
    assert all(amount == offers[arm] for _, arm, amount in rows)
    n_of_arm = Counter(arm for _, arm, _ in rows)
    for arm, fields in EXPERIMENT["arms"].items():
        assert binomtest(n_of_arm[arm], len(rows), fields["share"]).pvalue > 0.001
    ledger = fetch(
        settings,
        "select entity_id, arm, offer_amount from leadlight_activation.fct_coupon_offers "
        "order by entity_id",
    )
    assert ledger == [row for row in rows if row[2] > 0]


def test_arms_are_the_salted_hash_and_the_ledger_is_who_was_promised(simulated: Settings) -> None:
    assert_assignments_are_right(simulated)


def test_the_experiment_is_planned_by_its_control_arm(simulated: Settings) -> None:
    ((n_control, n_converted),) = fetch(
        simulated,
        "select count(*), count(*) filter (where exists ("
        "select 1 from leadlight_intermediate.int_events as events "
        "where events.user_id = entity_id and event_type = 'order_completed' "
        "and occurred_at > assigned_at and occurred_at <= assigned_at + interval '14 days')) "
        "from scoring.assignments where arm = %s",
        [EXPERIMENT["control_arm"]],
    )
    said = " ".join(done(simulated, "experiment", "plan", "lead_coupon", "--effect", "5").split())
    assert f"{n_converted / n_control:.2%} convert ({n_control:,} entities of the control" in said
    assert "with CUPED" in said
    said = " ".join(done(simulated, "experiment", "list").split())
    assert f"control 20.0% 0 {n_control:,}" in said


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
            -- Every third comes back again and again, to see pages, products and prices.
            select
                concat_ws('-', event_type, number, hour), event_type, 'fresh-' || number,
                now() - hour * interval '1 hour' + later, '{}'
            from generate_series(3, 300, 3) as number, generate_series(12, 28, 2) as hour,
                (values
                    ('page_viewed', interval '0 minutes'),
                    ('product_viewed', interval '4 minutes'),
                    ('pricing_viewed', interval '8 minutes')
                ) as v (event_type, later)
            """
        )
    # An offer is made now or not at all, so "now" is the clock; other tasks would have to catch up
    # with more than a year.
    assert_done(
        leadlight(settings, "run", "--vars", json.dumps({"prediction_tasks": {TASK: TASKS[TASK]}}))
    )
    return settings


def test_fresh_leads_below_the_threshold_are_assigned(with_fresh_leads: Settings) -> None:
    rows = fetch(
        with_fresh_leads,
        "select predictions.entity_id, score < 0.3, assignments.arm, "
        "predictions.prediction_id = assignments.prediction_id, attributes "
        "from scoring.predictions left join scoring.assignments using (entity_id) "
        "where task = %s and entity_id like 'fresh-%%' and run_kind = 'live'",
        [TASK],
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
    assert details["scored"] == {
        f"{TASK} v1": {"predictions": 320, "assignments": sum(is_assigned.values())}
    }
    assert_assignments_are_right(with_fresh_leads)


def test_another_champion_assigns_nobody_twice(
    with_fresh_leads: Settings, copy_database: CopyDatabase
) -> None:
    settings = copy_database(with_fresh_leads, "twice")
    before = content_hashes(settings, ["scoring.assignments"])
    with warehouse.connect(settings) as connection, connection.transaction():
        connection.execute("update scoring.models set status = 'retired' where task = %s", [TASK])
        connection.execute(
            "insert into scoring.models select (jsonb_populate_record(models, "
            """'{"model_version": "v2", "status": "champion"}')).* from scoring.models """
            "where task = %s",
            [TASK],
        )
    assert "0 assigned" in done(settings, "score", "--task", TASK)
    rescored = "select count(*) from scoring.predictions where task = %s and model_version = 'v2'"
    assert fetch_value(settings, rescored, [TASK]) > 320
    assert content_hashes(settings, ["scoring.assignments"]) == before
    assert_assignments_are_right(settings)


# A run that is killed --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(simulated: Settings, copy_database: CopyDatabase) -> Settings:
    return copy_database(simulated, "scratch")


@pytest.fixture
def unscored(scratch: Settings) -> Iterator[Settings]:
    """A copy in which the task's champion has scored nothing live yet, and no run was recorded."""
    with warehouse.connect(scratch) as connection:
        connection.execute(
            "delete from scoring.predictions "
            "where task = %s and run_kind = 'live' and model_version = 'v1'",
            [TASK],
        )
        connection.execute("truncate scoring.runs")
        ((artifact,),) = connection.execute(
            "select artifact from scoring.models where task = %s", [TASK]
        ).fetchall()
        yield scratch
        connection.execute(
            "update scoring.models set artifact = %s where task = %s", [artifact, TASK]
        )


@pytest.fixture(scope="module")
def retrained(simulated: Settings, copy_database: CopyDatabase) -> Settings:
    """A copy in which the task was trained a second time, and the metrics built."""
    settings = copy_database(simulated, "retrained")
    with quick_training():
        assert_done(leadlight(settings, "train", "--task", TASK))
    assert_done(leadlight(settings, "run", "--select", "post", "--vars", ONCE_MATURE))
    return settings


def live_scores(settings: Settings) -> list[tuple]:
    return fetch(
        settings,
        "select entity_id, as_of_at, score, threshold, attributes from scoring.predictions "
        "where task = %s and run_kind = 'live' and model_version = 'v1' order by 1",
        [TASK],
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
        "where task = %s and model_version = %s",
        [TASK, model_version],
    )
    predictions = fetch(
        settings,
        "select entity_id, as_of_at, score from scoring.predictions "
        "where task = %s and model_version = %s and run_kind = 'backtest' order by 1",
        [TASK, model_version],
    )
    return registered, predictions


def test_training_that_fails_half_way_writes_nothing_and_can_be_repeated(
    simulated: Settings,
    retrained: Settings,
    copy_database: CopyDatabase,
    train_quickly: None,
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
        assert_one_line(leadlight(settings, "train", "--task", TASK), "no space left")
    assert content_hashes(settings, WRITTEN) == before
    status, error = last_run(settings)
    assert status == "failed"
    assert "no space left" in error

    assert_done(leadlight(settings, "train", "--task", TASK))
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


def test_rollback_at_the_same_time_is_no_success(unscored: Settings) -> None:
    before = content_hashes(unscored, WRITTEN)
    with warehouse.connect(unscored) as first, warehouse.exclusive(first):
        result = leadlight(unscored, "models", "promote", TASK, "v1")
    assert result.exit_code == 1
    assert "another run is at work on this database: promote again" in result.output
    assert content_hashes(unscored, WRITTEN) == before


def test_model_that_fails_is_named_in_one_line_and_in_the_log(
    simulated: Settings,
    copy_database: CopyDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = copy_database(simulated, "broken")
    monkeypatch.setenv("DBT_LOG_PATH", str(tmp_path))
    with warehouse.connect(settings) as connection:
        connection.execute("alter table tracking.events drop column amount cascade")
    result = leadlight(settings, "run", "--select", "pre")
    assert result.exit_code == 1
    line = "dbt could not build stg_tracking__events (models/staging/tracking/"
    assert line in result.output
    ((status, error),) = fetch(
        settings, "select status, error from scoring.runs order by run_id desc limit 1"
    )
    assert status == "failed" and line in error
    assert "stg_tracking__events" in (tmp_path / "dbt.log").read_text()


# Artifacts and promotion -----------------------------------------------------------------------

TAMPER = r"update scoring.models set artifact = artifact || '\x00' where task = %s"


def test_tampered_artifact_is_refused(unscored: Settings) -> None:
    with warehouse.connect(unscored) as connection:
        connection.execute(TAMPER, [TASK])
    before = content_hashes(unscored, WRITTEN)
    assert_one_line(leadlight(unscored, "score"), f"model v1 of {TASK}", "SHA-256")
    assert content_hashes(unscored, WRITTEN) == before
    assert last_run(unscored)[0] == "failed"


def test_training_again_mends_a_tampered_champion(
    simulated: Settings, copy_database: CopyDatabase, train_quickly: None
) -> None:
    """The refusal says to train the task again; that has to help."""
    settings = copy_database(simulated, "tampered")
    execute(settings, TAMPER, [TASK])
    said = " ".join(done(settings, "train", "--task", TASK).split())
    assert "v2 is champion (the champion cannot be used" in said
    # What came after it was judged.
    execute(
        settings,
        "update scoring.models set judged_through = judged_through - interval '1 day' "
        "where task = %s and model_version = 'v2'",
        [TASK],
    )
    assert f"{TASK} v2 scored" in done(settings, "score", "--task", TASK)


def test_retraining_promotes_only_what_is_better_on_unseen_rows(retrained: Settings) -> None:
    ((status, reason),) = fetch(
        retrained,
        "select status, reason from scoring.models where task = %s and model_version = 'v2'",
        [TASK],
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
            using (task, entity_id, as_of_at)
        where task = %s and v2.model_version = 'v2' and v2.run_kind = 'backtest'
            and v1.model_version = 'v1' and v1.run_kind = 'live'
        """,
        [TASK],
    )
    assert n_rows >= training.MIN_ROWS_TO_COMPARE
    is_better = loss < champion_loss
    assert status == ("champion" if is_better else "challenger")
    expected = f"log loss {loss:.4f} against {champion_loss:.4f} of v1 on {n_rows} unseen rows"
    assert reason == expected
    champions = "select model_version from scoring.models where task = %s and status = 'champion'"
    assert fetch(retrained, champions, [TASK]) == [("v2" if is_better else "v1",)]


def test_too_few_unseen_rows_make_a_challenger_that_nobody_acts_on(
    simulated: Settings, copy_database: CopyDatabase, train_quickly: None
) -> None:
    settings = copy_database(simulated, "challenger")
    # As if the champion had seen all but the last day.
    execute(
        settings,
        "update scoring.models set judged_through = (select max(as_of_at) - interval '1 day' "
        "from leadlight_features.fct_lead_conversion_features) where task = %s",
        [TASK],
    )
    current = "select * from leadlight_activation.fct_current_predictions order by 1"
    before = fetch(settings, current)
    assert "v2 is challenger (only" in done(settings, "train", "--task", TASK)
    # Scored in the shadow, later than the champion.
    execute(
        settings,
        "insert into scoring.predictions (task, model_version, run_kind, entity_id, as_of_at, "
        "score, threshold) select task, 'v2', 'live', entity_id, as_of_at, 0.99, threshold "
        "from scoring.predictions "
        "where task = %s and model_version = 'v1' and run_kind = 'live'",
        [TASK],
    )
    assert_done(leadlight(settings, "run", "--select", "post", "--vars", ONCE_MATURE))
    assert fetch(settings, current) == before
    statuses = fetch(
        settings,
        "select model_version, status from leadlight_shared.dim_model_versions "
        "where task = %s order by 1",
        [TASK],
    )
    assert statuses == [("incumbent", "external"), ("v1", "champion"), ("v2", "challenger")]
