"""The simulated business: what it promises about its truth, its deliveries and its experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import psycopg
import pytest
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from python_scoring import warehouse
from python_scoring.errors import LeadlightError
from python_scoring.experiments import assign_arm
from python_scoring.settings import Settings
from python_scoring.simulation import (
    ExperimentPlan,
    Simulation,
    simulate_business,
    write_simulation,
)

UNTIL = datetime(2025, 6, 30, 6, 30, tzinfo=UTC)
SCORING_DELAY = timedelta(hours=24)
HORIZON = timedelta(days=14)
THRESHOLD = 0.3
PLAN = ExperimentPlan(
    task="conversion",
    experiment="coupon",
    salt="pepper",
    holdout_share=0.25,
    offer_amount=20.0,
    control_arm="control",
    treatment_arm="treatment",
)
FRAMES = ("events", "predictions", "assignments", "truth")


def simulate(n_leads: int, seed: int, n_days: int = 90, **changes: object) -> Simulation:
    arguments = {
        "until": UNTIL,
        "scoring_delay": SCORING_DELAY,
        "horizon": HORIZON,
        "threshold": THRESHOLD,
        "experiment": PLAN,
    }
    return simulate_business(n_leads, n_days, seed, **(arguments | changes))


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(20_000, seed=7)


@pytest.fixture(scope="module")
def clean_events(simulation: Simulation) -> pd.DataFrame:
    """One row per valid event: its first delivery."""
    events = simulation.events
    return events[is_valid(events)].drop_duplicates("event_id")


def is_valid(events: pd.DataFrame) -> pd.Series:
    is_complete = events[["event_id", "event_type", "user_id", "occurred_at"]].notna().all(axis=1)
    is_future = events["occurred_at"] > events["loaded_at"] + timedelta(days=1)
    return is_complete & ~is_future & ~(events["amount"] < 0)


def scored_truth(simulation: Simulation) -> pd.DataFrame:
    return simulation.predictions.merge(
        simulation.truth.drop(columns="as_of_at"), left_on="entity_id", right_on="user_id"
    )


# The same arguments, the same business ---------------------------------------------------------


def test_same_arguments_give_identical_frames() -> None:
    once, again = simulate(1_500, seed=3), simulate(1_500, seed=3)
    for name in FRAMES:
        assert_frame_equal(getattr(once, name), getattr(again, name))


def test_another_seed_gives_other_leads() -> None:
    one, other = simulate(1_500, seed=3), simulate(1_500, seed=4)
    assert set(one.truth["user_id"]).isdisjoint(other.truth["user_id"])
    assert set(one.events["event_id"].dropna()).isdisjoint(other.events["event_id"].dropna())
    assert set(one.predictions["prediction_id"]).isdisjoint(other.predictions["prediction_id"])
    assert not np.array_equal(one.truth["intent"], other.truth["intent"])


def test_another_threshold_leaves_the_leads_as_they_were() -> None:
    low, high = simulate(1_500, seed=3, threshold=0.3), simulate(1_500, seed=3, threshold=0.6)
    columns = ["user_id", "landed_at", "intent", "probability_without_coupon"]
    assert_frame_equal(low.truth[columns], high.truth[columns])
    assert len(low.assignments) < len(high.assignments)


def test_the_time_zone_of_the_end_does_not_matter() -> None:
    here = simulate(300, seed=3)
    there = simulate(300, seed=3, until=UNTIL.astimezone(timezone(timedelta(hours=-7))))
    assert_frame_equal(here.events, there.events)


# Leads and their visits ------------------------------------------------------------------------


def test_every_lead_is_created_once_with_its_properties(
    simulation: Simulation, clean_events: pd.DataFrame
) -> None:
    created = clean_events[clean_events["event_type"] == "lead_created"]
    assert created["user_id"].is_unique
    properties = pd.DataFrame(created["properties"].map(json.loads).tolist())
    columns = ["email", "utm_medium", "utm_source", "device", "country"]
    columns += ["company_size", "newsletter"]
    assert list(properties.columns[:7]) == columns
    assert properties[columns].notna().all(axis=None)
    assert properties["email"].is_unique
    assert properties["email"].str.endswith("@example.com").all()
    # Only leads whose one event is still on its way are missing.
    missing = simulation.truth[~simulation.truth["user_id"].isin(created["user_id"])]
    assert len(missing) < 0.01 * len(simulation.truth)
    assert (missing["landed_at"] > UNTIL - timedelta(days=3)).all()


def test_leads_land_over_all_days_more_by_day_than_by_night(simulation: Simulation) -> None:
    landed_at = simulation.truth["landed_at"]
    assert landed_at.is_monotonic_increasing
    assert landed_at.between(UNTIL - timedelta(days=90), UNTIL).all()
    assert landed_at.dt.floor("D").nunique() == 91
    by_hour = landed_at.dt.hour.value_counts()
    assert by_hour[14] > 3 * by_hour[2]
    by_weekday = landed_at.dt.day_of_week.value_counts()
    assert by_weekday[[5, 6]].max() < by_weekday[[0, 1, 2, 3, 4]].min()


def test_events_come_in_visits(clean_events: pd.DataFrame) -> None:
    views = clean_events[clean_events["event_type"].str.endswith("_viewed")]
    views = views.sort_values(["user_id", "occurred_at"])
    silence = views.groupby("user_id")["occurred_at"].diff().dropna()
    assert views["session_id"].isna().all()
    assert (silence < timedelta(minutes=30)).mean() > 0.5
    assert (silence > timedelta(hours=1)).mean() > 0.1


def test_about_one_event_in_a_thousand_is_of_an_unknown_type(clean_events: pd.DataFrame) -> None:
    assert 0.0005 < (clean_events["event_type"] == "widget_toggled").mean() < 0.0015


# Deliveries ------------------------------------------------------------------------------------


def test_shares_of_repeats_broken_and_late_rows(simulation: Simulation) -> None:
    events = simulation.events
    valid = events[is_valid(events)]
    is_repeat = valid.duplicated("event_id")
    first = valid[~is_repeat]
    delay = first["loaded_at"] - first["occurred_at"]
    assert 0.008 < is_repeat.sum() / len(events) < 0.012
    assert 0.004 < 1 - len(valid) / len(events) < 0.006
    assert 0.017 < (delay > timedelta(hours=1)).mean() < 0.023
    assert delay.between(timedelta(0), timedelta(days=3)).all()


def test_rows_are_broken_in_every_way_and_take_no_event_with_them(simulation: Simulation) -> None:
    events = simulation.events
    broken = events[~is_valid(events)]
    for column in ("event_id", "event_type", "user_id", "occurred_at"):
        assert broken[column].isna().any(), column
    assert (broken["occurred_at"] > broken["loaded_at"] + timedelta(days=1)).any()
    assert (broken["amount"] < 0).any()
    assert set(broken["event_id"].dropna()).isdisjoint(events[is_valid(events)]["event_id"])


def test_repeats_come_later_and_differ_at_most_in_their_properties(simulation: Simulation) -> None:
    events = simulation.events[is_valid(simulation.events)]
    repeats = events[events.duplicated("event_id")]
    pairs = repeats.merge(events.drop_duplicates("event_id"), on="event_id", suffixes=("", "_1"))
    assert (pairs["loaded_at"] > pairs["loaded_at_1"]).all()
    for column in ("event_type", "user_id", "occurred_at"):
        assert (pairs[column] == pairs[f"{column}_1"]).all()
    assert pairs["amount"].equals(pairs["amount_1"].rename("amount"))
    is_identical = pairs["properties"] == pairs["properties_1"]
    assert is_identical.any() and not is_identical.all()


def test_nothing_after_the_end(simulation: Simulation) -> None:
    events = simulation.events
    assert events["loaded_at"].is_monotonic_increasing
    assert events["loaded_at"].max() <= UNTIL
    assert events[is_valid(events)]["occurred_at"].max() <= UNTIL
    assert simulation.predictions["predicted_at"].max() <= UNTIL - timedelta(days=2)
    assert (simulation.predictions["loaded_at"] == simulation.predictions["predicted_at"]).all()
    assert (simulation.assignments["loaded_at"] == simulation.assignments["assigned_at"]).all()


def test_times_are_utc_microseconds(simulation: Simulation) -> None:
    for name in FRAMES:
        frame = getattr(simulation, name)
        for column in frame.columns[frame.columns.str.endswith("_at")]:
            assert str(frame[column].dtype) == "datetime64[us, UTC]", f"{name}.{column}"


# Orders ----------------------------------------------------------------------------------------


def test_base_rate(simulation: Simulation) -> None:
    assert simulation.truth["probability_without_coupon"].mean() == pytest.approx(0.25, abs=0.02)


def test_amounts_are_cents_from_10_to_250(clean_events: pd.DataFrame) -> None:
    amount = clean_events.loc[clean_events["event_type"] == "order_completed", "amount"]
    assert amount.between(10, 250).all()
    assert (amount == amount.round(2)).all()
    assert amount.nunique() > 1_000


@pytest.mark.parametrize("counts_from", ["as_of_at", "predicted_at"])
def test_truth_is_what_the_events_say(
    simulation: Simulation, clean_events: pd.DataFrame, counts_from: str
) -> None:
    """Whoever did order has an order in the window of the label and of the experiment alike."""
    scored = scored_truth(simulation)
    # Three more days, because an order may arrive that late.
    mature = scored[scored["predicted_at"] + HORIZON + timedelta(days=3) <= UNTIL]
    orders = clean_events[clean_events["event_type"] == "order_completed"]
    pairs = orders[["user_id", "occurred_at"]].merge(mature, on="user_id")
    is_inside = (pairs["occurred_at"] > pairs[counts_from]) & (
        pairs["occurred_at"] <= pairs[counts_from] + HORIZON
    )
    assert 0 < is_inside.sum() < len(pairs)  # some orders lie outside, and count for nothing
    ordered = mature["user_id"].isin(pairs["user_id"][is_inside])
    assert (ordered == mature["did_order"]).all()


def test_probabilities_are_those_of_the_orders(simulation: Simulation) -> None:
    truth = simulation.truth
    probability = truth["probability_without_coupon"].where(
        truth["arm"] != PLAN.treatment_arm, truth["probability_with_coupon"]
    )
    standard_error = np.sqrt((probability * (1 - probability)).sum())
    assert abs(truth["did_order"].sum() - probability.sum()) < 3 * standard_error
    assert (truth["probability_with_coupon"] > truth["probability_without_coupon"]).all()


# The incumbent and its experiment --------------------------------------------------------------


def test_incumbent_ranks_usefully_but_scores_too_high(simulation: Simulation) -> None:
    scored = scored_truth(simulation)
    assert 0.62 < roc_auc_score(scored["did_order"], scored["score"]) < 0.8
    assert scored["score"].mean() > scored["did_order"].mean() + 0.1
    assert scored["score"].between(0, 1).all()


def test_incumbent_scores_all_but_the_newest_leads(simulation: Simulation) -> None:
    predictions, truth = simulation.predictions, simulation.truth
    wait = predictions["predicted_at"] - predictions["as_of_at"]
    assert wait.between(timedelta(minutes=1), timedelta(minutes=10)).all()
    is_due = truth["as_of_at"] + timedelta(minutes=10) <= UNTIL - timedelta(days=2)
    assert truth.loc[is_due, "user_id"].isin(predictions["entity_id"]).all()
    assert len(predictions) < len(truth)
    assert (truth["as_of_at"] - truth["landed_at"] == SCORING_DELAY).all()
    for attributes in predictions["attributes"].head(100).map(json.loads):
        assert list(attributes) == ["utm_medium", "device", "country"]


def test_exactly_those_below_the_threshold_are_assigned(simulation: Simulation) -> None:
    eligible = simulation.predictions[simulation.predictions["score"] < THRESHOLD]
    assignments = simulation.assignments
    assert assignments["entity_id"].tolist() == eligible["entity_id"].tolist()
    assert assignments["prediction_id"].tolist() == eligible["prediction_id"].tolist()
    assert assignments["assigned_at"].tolist() == eligible["predicted_at"].tolist()
    arms = simulation.truth.dropna(subset="arm").set_index("user_id")["arm"]
    assert arms.to_dict() == dict(zip(assignments["entity_id"], assignments["arm"], strict=True))


def test_arms_come_from_the_shared_rule_in_the_planned_share(simulation: Simulation) -> None:
    assignments = simulation.assignments
    expected = assign_arm(
        PLAN.salt,
        assignments["entity_id"].tolist(),
        PLAN.holdout_share,
        PLAN.control_arm,
        PLAN.treatment_arm,
    )
    assert assignments["arm"].tolist() == expected.tolist()
    is_control = assignments["arm"] == PLAN.control_arm
    assert is_control.mean() == pytest.approx(PLAN.holdout_share, abs=0.02)
    assert (assignments["offer_amount"] == np.where(is_control, 0, PLAN.offer_amount)).all()


def test_treated_order_more_often_by_the_true_effect(simulation: Simulation) -> None:
    eligible = simulation.truth.dropna(subset="arm")
    effect = (eligible["probability_with_coupon"] - eligible["probability_without_coupon"]).mean()
    assert 0.06 < effect < 0.08
    by_arm = eligible.groupby("arm")["did_order"].agg(["mean", "var", "count"])
    difference = by_arm["mean"][PLAN.treatment_arm] - by_arm["mean"][PLAN.control_arm]
    standard_error = np.sqrt((by_arm["var"] / by_arm["count"]).sum())
    assert abs(difference - effect) < 3 * standard_error
    assert difference > 3 * standard_error


@pytest.mark.parametrize("offer_amount", [5.0, 50.0])
def test_coupons_are_worth_what_the_plan_offers(offer_amount: float) -> None:
    simulation = simulate(1_500, seed=5, experiment=replace(PLAN, offer_amount=offer_amount))
    events = simulation.events[is_valid(simulation.events)].drop_duplicates("event_id")
    treated = simulation.truth["user_id"][simulation.truth["arm"] == PLAN.treatment_arm]
    offered = events[events["event_type"] == "coupon_offered"]
    redeemed = events[events["event_type"] == "coupon_redeemed"]
    orders = events[events["event_type"] == "order_completed"]
    assert offered["user_id"].isin(treated).all()
    assert len(redeemed) > 0
    assert redeemed["user_id"].is_unique and redeemed["user_id"].isin(treated).all()
    assert (pd.concat([offered, redeemed])["amount"] == offer_amount).all()
    # An order may still be on its way when its redemption has arrived.
    with_order = redeemed.merge(orders, on=["user_id", "occurred_at"])
    assert len(with_order) >= 0.9 * len(redeemed)


def test_a_simple_model_of_the_first_day_beats_the_incumbent(
    simulation: Simulation, clean_events: pd.DataFrame
) -> None:
    scored = scored_truth(simulation).set_index("user_id")
    seen = clean_events.merge(scored["as_of_at"], left_on="user_id", right_index=True)
    seen = seen[seen["occurred_at"] <= seen["as_of_at"]]
    counts = pd.crosstab(seen["user_id"], seen["event_type"]).reindex(scored.index, fill_value=0)
    channel = pd.DataFrame(scored["attributes"].map(json.loads).tolist(), index=scored.index)
    features = np.log1p(counts[["page_viewed", "product_viewed", "pricing_viewed"]]).join(
        pd.get_dummies(channel, dtype=float)
    )
    past, recent = np.split(np.arange(len(scored)), [int(0.7 * len(scored))])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(features.iloc[past], scored["did_order"].iloc[past])
    score = model.predict_proba(features.iloc[recent])[:, 1]
    did_order, incumbent = scored["did_order"].iloc[recent], scored["score"].iloc[recent]
    assert roc_auc_score(did_order, score) >= 0.72
    assert log_loss(did_order, score) < log_loss(did_order, incumbent) - 0.05


# Edges -----------------------------------------------------------------------------------------


def test_a_business_too_young_to_have_been_scored() -> None:
    simulation = simulate(50, seed=1, n_days=2)
    assert len(simulation.predictions) == len(simulation.assignments) == 0
    assert len(simulation.truth) == 50
    assert simulation.truth["arm"].isna().all()


@pytest.mark.parametrize("holdout_share", [0.0, 1.0])
def test_everybody_in_one_arm(holdout_share: float) -> None:
    simulation = simulate(500, seed=1, experiment=replace(PLAN, holdout_share=holdout_share))
    arm = PLAN.control_arm if holdout_share else PLAN.treatment_arm
    assert set(simulation.assignments["arm"]) == {arm}


def test_one_lead() -> None:
    assert len(simulate(1, seed=1, n_days=1).truth) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_leads": 0}, "number of leads"),
        ({"n_days": 0}, "number of days"),
        ({"seed": -1}, "seed"),
        ({"until": UNTIL.replace(tzinfo=None)}, "time zone"),
        ({"scoring_delay": timedelta(0)}, "scoring delay"),
        ({"horizon": timedelta(minutes=5)}, "horizon"),
        ({"threshold": 1.5}, "threshold"),
        ({"experiment": replace(PLAN, holdout_share=-0.1)}, "holdout share"),
        ({"experiment": replace(PLAN, offer_amount=60.0)}, "offer amount"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(LeadlightError, match=message):
        simulate(**({"n_leads": 10, "seed": 1} | changes))


# Written to a database -------------------------------------------------------------------------


@contextmanager
def undone(database: Settings) -> Iterator[psycopg.Connection]:
    """A connection in a transaction that is rolled back in the end."""
    with warehouse.connect(database) as connection, connection.transaction(force_rollback=True):
        yield connection


def test_what_is_written_is_what_was_simulated(database: Settings) -> None:
    simulation = simulate(800, seed=901)
    reported: list[int] = []
    with undone(database) as connection:
        n_written = write_simulation(connection, simulation, 901, reported.append)
        assert n_written == sum(reported) == sum(len(getattr(simulation, name)) for name in FRAMES)

        like = "lead-901-%"
        rows = connection.execute(
            "select event_id, event_type, user_id, session_id, occurred_at, amount::float8,"
            " properties::jsonb, loaded_at from tracking.events order by delivery_id desc limit %s",
            [len(simulation.events)],
        ).fetchall()[::-1]
        expected = simulation.events.astype(object).where(simulation.events.notna(), None)
        expected["properties"] = simulation.events["properties"].map(json.loads)
        assert rows == list(expected.itertuples(index=False, name=None))

        scores = connection.execute(
            "select p.prediction_id::text, p.score, a.arm, a.offer_amount::float8"
            " from scoring.predictions as p"
            " left join scoring.assignments as a using (prediction_id)"
            " where p.entity_id like %s order by p.entity_id",
            [like],
        ).fetchall()
        offers = simulation.predictions.merge(
            simulation.assignments, on=["prediction_id", "entity_id"], how="left"
        )[["prediction_id", "score", "arm", "offer_amount"]]
        offers = offers.astype(object).where(offers.notna(), None)
        assert scores == list(offers.itertuples(index=False, name=None))

        truth = connection.execute(
            "select * from simulation.leads where user_id like %s order by user_id", [like]
        ).fetchall()
        expected = simulation.truth.astype(object).where(simulation.truth.notna(), None)
        assert truth == list(expected.itertuples(index=False, name=None))

        ledger = connection.execute(
            "select target, n_rows, n_rejected from tracking.loads where source = 'simulation:901'"
        ).fetchall()
        assert ledger == [("tracking.events", len(simulation.events), 0)]


def test_a_seed_is_written_once_and_another_beside_it(database: Settings) -> None:
    with undone(database) as connection:
        write_simulation(connection, simulate(20, seed=902), 902)
        with pytest.raises(LeadlightError, match="seed 902 was already simulated"):
            write_simulation(connection, simulate(20, seed=902), 902)
        write_simulation(connection, simulate(20, seed=903), 903)
        counts = connection.execute(
            "select count(*) from simulation.leads where user_id like any (%s)",
            [["lead-902-%", "lead-903-%"]],
        ).fetchone()
        assert counts == (40,)


def test_an_undone_write_leaves_nothing_behind(database: Settings) -> None:
    with undone(database) as connection:
        write_simulation(connection, simulate(20, seed=904), 904)
    with warehouse.connect(database) as connection:
        count = connection.execute(
            "select (select count(*) from tracking.loads where source = 'simulation:904')"
            " + (select count(*) from tracking.events where user_id like 'lead-904-%')"
        ).fetchone()
        assert count == (0,)
