"""Experiments as the job runs them: who is drawn into which arm, when, and what may not change."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import PROJECT, assert_done, assert_one_line, execute, fetch, fetch_value, leadlight
from scipy.stats import chisquare

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.errors import LeadlightError
from python_scoring.experiments import Arm, assign_arm
from python_scoring.predictions import assign
from python_scoring.settings import Settings
from python_scoring.tasks import Experiment, read_experiments

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARMS = (
    Arm("control", Decimal(0), 0.25, 0.0),
    Arm("small", Decimal(5), 0.5, 0.25),
    Arm("large", Decimal("12.50"), 0.25, 0.75),
)
TRIAL = Experiment(
    experiment="trial",
    task="lead_conversion",
    eligible="score_below_threshold",
    salt="pepper",
    control_arm="control",
    horizon_days=14,
    starts_at=None,
    ends_at=None,
    assign_within_hours=24,
    arms=ARMS,
)


# Arms ------------------------------------------------------------------------------------------


def digest_share(salt: str, entity_id: str) -> float:
    """The share as it is published."""
    return int(hashlib.md5(f"{salt}:{entity_id}".encode()).hexdigest()[:8], 16) / 2**32


def test_arms_are_the_salted_hash() -> None:
    entity_ids = [f"lead-{number}" for number in range(2_000)]
    shares = [digest_share("pepper", entity_id) for entity_id in entity_ids]
    expected = [0 if share < 0.25 else 1 if share < 0.75 else 2 for share in shares]
    assert assign_arm("pepper", entity_ids, ARMS).tolist() == expected
    counts = np.bincount(expected)
    assert chisquare(counts, 2_000 * np.array([0.25, 0.5, 0.25])).pvalue > 0.001
    # Another salt shuffles anew: who is where says nothing of where they are now.
    other = assign_arm("salt", entity_ids, ARMS)
    assert np.mean(other == expected) == pytest.approx(0.25**2 + 0.5**2 + 0.25**2, abs=0.05)
    assert assign_arm("pepper", [], ARMS).tolist() == []


def test_an_arm_begins_with_its_own_share_and_the_last_one_takes_what_is_left() -> None:
    share = digest_share("pepper", "somebody")
    begins_there = (Arm("a", Decimal(0), share, 0.0), Arm("b", Decimal(0), 1 - share, share))
    assert assign_arm("pepper", ["somebody"], begins_there).tolist() == [1]
    just_later = (begins_there[0], replace(begins_there[1], share_from=share + 2**-40))
    assert assign_arm("pepper", ["somebody"], just_later).tolist() == [0]
    # Shares that sum up to a little less than 1 leave nobody without an arm.
    short = tuple(replace(arm, share=arm.share - 1e-9) for arm in ARMS)
    assert assign_arm("pepper", ["somebody"], short).tolist() == [
        int(share >= 0.25) + (share >= 0.75)
    ]


def test_an_arm_without_a_share_takes_nobody() -> None:
    arms = (
        Arm("control", Decimal(0), 0.0, 0.0),
        Arm("coupon", Decimal(5), 1.0, 0.0),
        Arm("never", Decimal(9), 0.0, 1.0),
    )
    entity_ids = [f"lead-{number}" for number in range(500)]
    assert set(assign_arm("pepper", entity_ids, arms)) == {1}


# Assignments -----------------------------------------------------------------------------------


def predicted(*entity_ids: str, score: float = 0.1, hours_ago: float = 1) -> pd.DataFrame:
    """Fresh predictions, as the job has them."""
    return pd.DataFrame(
        {
            "prediction_id": [uuid.uuid4() for _ in entity_ids],
            "entity_id": entity_ids,
            "as_of_at": pd.Series([NOW - timedelta(hours=hours_ago)] * len(entity_ids)),
            "score": score,
        }
    )


def assigned(
    settings: Settings, experiment: Experiment, predictions: pd.DataFrame, now: datetime = NOW
) -> int:
    with warehouse.connect(settings) as connection:
        return assign(connection, experiment, 0.3, predictions, now)


LEADS = [f"lead-{number}" for number in range(100)]
LEDGER = "select experiment, entity_id, arm, offer_amount from scoring.assignments order by 1, 2"


def test_each_is_offered_what_its_arm_offers(clean_database: Settings) -> None:
    assert assigned(clean_database, TRIAL, predicted(*LEADS)) == 100
    rows = fetch(clean_database, LEDGER)
    offers = {arm.arm: arm.offer_amount for arm in ARMS}
    numbers = assign_arm("pepper", [row[1] for row in rows], ARMS)
    assert [row[2] for row in rows] == [ARMS[number].arm for number in numbers]
    assert [row[3] for row in rows] == [offers[row[2]] for row in rows]
    assert {row[2] for row in rows} == set(offers)


def test_only_who_is_eligible_takes_part(clean_database: Settings) -> None:
    frames = [
        predicted("low"),
        predicted("at the threshold", score=0.3),
        predicted("long ago", hours_ago=25),
    ]
    predictions = pd.concat(frames, ignore_index=True)
    assert assigned(clean_database, TRIAL, predictions) == 1
    everybody = replace(TRIAL, experiment="everybody", eligible="all")
    assert assigned(clean_database, everybody, predictions) == 2
    assert [row[:2] for row in fetch(clean_database, LEDGER)] == [
        ("everybody", "at the threshold"),
        ("everybody", "low"),
        ("trial", "low"),
    ]


def test_nobody_is_assigned_before_the_start_nor_from_the_end_on(clean_database: Settings) -> None:
    hour = timedelta(hours=1)
    limited = replace(TRIAL, starts_at=NOW, ends_at=NOW + hour)
    second = timedelta(seconds=1)
    for now, n_assigned in (
        (NOW - second, 0),
        (NOW, 1),
        (NOW + hour - second, 1),
        (NOW + hour, 0),
        (NOW + 2 * hour, 0),
    ):
        assert assigned(clean_database, limited, predicted(str(now)), now) == n_assigned, now
    assert fetch_value(clean_database, "select count(*) from scoring.assignments") == 2


def test_who_is_known_keeps_the_arm_and_is_offered_nothing_more(clean_database: Settings) -> None:
    assigned(clean_database, TRIAL, predicted(*LEADS[:50]))
    before = fetch(clean_database, LEDGER)
    # The same people again, twice in one batch, and all would now be drawn into another arm.
    generous = replace(TRIAL, arms=(replace(ARMS[0], share=0.0), Arm("all", Decimal(99), 1.0, 0.0)))
    again = predicted(*LEADS, *LEADS)
    assert assigned(clean_database, generous, again) == 50
    assert assigned(clean_database, generous, again) == 0
    after = fetch(clean_database, LEDGER)
    assert [row for row in after if row in before] == before
    assert len(after) == 100


def test_nobody_can_be_offered_anything_twice(clean_database: Settings) -> None:
    """Whoever writes assignments, the table refuses a second one."""
    insert = (
        "insert into scoring.assignments (experiment, entity_id, arm, offer_amount) "
        "values ('trial', 'lead-1', 'small', 5)"
    )
    execute(clean_database, insert)
    with pytest.raises(Exception, match="assignments_pkey"):
        execute(clean_database, insert)


# The registry, as the job reads it, and what may not change ----------------------------------


def entry(**changes: Any) -> dict[str, Any]:
    """The registry's experiment with three arms, and changed."""
    arms = {
        "small": {"share": 0.333, "offer_amount": 5},
        "control": {"share": 0.333},
        "large": {"share": 0.333, "offer_amount": 12.5},
    }
    return PROJECT["vars"]["experiments"]["lead_coupon"] | {"arms": arms} | changes


# The same for every call of dbt, which would read the whole project anew otherwise.
VARIABLES = json.dumps({"experiments": {"lead_coupon": entry()}})
DIMENSIONS = ("dim_experiments", "dim_experiment_arms")
DATA_TEST = ["test", "--select", "assert_running_experiments_are_as_they_began"]


@pytest.fixture(scope="module")
def registry(make_database: Callable[[str], Settings]) -> Settings:
    """A database in which the experiment has three arms, and no task has a model."""
    settings = make_database("experiments")
    names = ("dim_prediction_tasks", *DIMENSIONS, "stg_scoring__experiments")
    run_dbt(settings, ["run", "--select", *names], VARIABLES)
    for name in DIMENSIONS:
        execute(settings, f"create table {name} as select * from leadlight_shared.{name}")
    return settings


@pytest.fixture
def running(registry: Settings) -> Settings:
    """The experiment as it stands in the registry, with its first lead."""
    execute(registry, "truncate scoring.assignments, scoring.experiments")
    for name in DIMENSIONS:
        execute(registry, f"truncate leadlight_shared.{name}")
        execute(registry, f"insert into leadlight_shared.{name} select * from {name}")
    with warehouse.connect(registry) as connection:
        (experiment,) = read_experiments(connection, registry, "lead_conversion")
        assert assign(connection, experiment, 0.3, predicted("lead-1"), NOW) == 1
    return registry


def test_arms_are_read_in_the_order_of_their_shares(running: Settings) -> None:
    with warehouse.connect(running) as connection:
        (experiment,) = read_experiments(connection, running)
        assert read_experiments(connection, running, "customer_churn") == []
    assert (experiment.task, experiment.salt) == ("lead_conversion", "lead-coupon-2026")
    assert [arm.arm for arm in experiment.arms] == ["control", "small", "large"]
    assert [arm.offer_amount for arm in experiment.arms] == [0, 5, Decimal("12.5")]
    assert [arm.share_from for arm in experiment.arms] == pytest.approx([0, 1 / 3, 2 / 3])


def test_an_experiment_begins_with_its_first_entity(clean_database: Settings) -> None:
    assert assigned(clean_database, TRIAL, predicted("lead-1", score=0.9)) == 0
    assert fetch(clean_database, "select * from scoring.experiments") == []


def test_the_ledger_says_what_an_experiment_was_when_it_began(running: Settings) -> None:
    ((experiment, salt, arms, is_now),) = fetch(
        running,
        "select experiment, salt, arms, begun_at = loaded_at and begun_at <= now() "
        "from scoring.experiments",
    )
    assert (experiment, salt, is_now) == ("lead_coupon", "lead-coupon-2026", True)
    assert arms == {
        "control": {"share": 0.333333333, "offer_amount": 0},
        "small": {"share": 0.333333333, "offer_amount": 5},
        "large": {"share": 0.333333333, "offer_amount": 12.5},
    }
    # Who comes later changes nothing of it.
    with warehouse.connect(running) as connection:
        (found,) = read_experiments(connection, running)
        assert assign(connection, replace(found, salt="x"), 0.3, predicted("lead-2"), NOW) == 1
    assert fetch_value(running, "select salt from scoring.experiments") == "lead-coupon-2026"


def update(what: str, name: str = "dim_experiment_arms") -> str:
    return f"update leadlight_shared.{name} set {what}"


CHANGES = {
    "salt": (
        update("salt = 'sugar'", "dim_experiments"),
        ("its salt was lead-coupon-2026 and is sugar",),
    ),
    "shares": (
        update("share = share + 0.1 * (arm_number - 2)"),
        ("large (share 0.3333, offer 12.5)", "large (share 0.4333, offer 12.5)"),
    ),
    "offer": (
        update("offer_amount = 15 where arm = 'large'"),
        ("large (share 0.3333, offer 12.5)", "large (share 0.3333, offer 15)"),
    ),
    "name": (
        update("arm = 'huge' where arm = 'large'"),
        ("were control (share 0.3333), large", "are control (share 0.3333), huge"),
    ),
    "fewer arms": (
        "delete from leadlight_shared.dim_experiment_arms where arm = 'large'",
        ("and are control (share 0.3333), small (share 0.3333, offer 5):",),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_running_experiment_is_not_changed(running: Settings, change: str) -> None:
    statement, parts = CHANGES[change]
    execute(running, statement)
    message = ("lead_coupon has been running since", *parts, "put it back", "name of its own")
    assert_one_line(leadlight(running, "score"), *message)
    # Those who run dbt alone are told so too.
    with pytest.raises(LeadlightError, match=DATA_TEST[-1]):
        run_dbt(running, DATA_TEST, VARIABLES)


@pytest.mark.parametrize("phase", ["train", "score", "post"])
def test_the_loop_stops_before_it_learns_from_a_changed_experiment(
    running: Settings, phase: str
) -> None:
    execute(running, CHANGES["salt"][0])
    result = leadlight(running, "run", "--select", phase)
    assert_one_line(result, "lead_coupon has been running since")


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        update("salt = 'sugar', ends_at = now()", "dim_experiments"),
        update("horizon_days = 7, ends_at = now() + interval '1 day'", "dim_experiments"),
        # The salt is another's: what is new has a name of its own.
        update("experiment = 'lead_coupon_2', salt = 'sugar'", "dim_experiments"),
    ],
    ids=["as it began", "over", "what decides nothing", "another name"],
)
def test_what_does_not_change_who_gets_what_is_allowed(running: Settings, statement: str) -> None:
    execute(running, statement)
    assert_done(leadlight(running, "score"))
    run_dbt(running, DATA_TEST, VARIABLES)
