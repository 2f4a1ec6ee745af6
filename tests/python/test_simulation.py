"""The simulated businesses: what they promise about their truth and their deliveries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from conftest import PROJECT_DIR
from pandas.testing import assert_frame_equal
from psycopg import sql
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, log_loss, roc_auc_score, silhouette_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from python_scoring import warehouse
from python_scoring.errors import LeadlightError
from python_scoring.experiments import assign_arm
from python_scoring.settings import Settings
from python_scoring.simulation import (
    ExperimentPlan,
    Simulation,
    write_simulation,
)
from python_scoring.simulation import simulate as simulate_all
from python_scoring.simulation.plan import plan_arms, read_postcodes

UNTIL = datetime(2025, 6, 30, 6, 30, tzinfo=UTC)
SCORING_DELAY = timedelta(hours=24)
HORIZON = timedelta(days=14)
THRESHOLD = 0.3
PLAN = ExperimentPlan(
    task="conversion",
    experiment="coupon",
    salt="pepper",
    arms=plan_arms(
        "control",
        {"treatment": {"share": 0.75, "offer_amount": 20}, "control": {"share": 0.25}},
    ),
)
THREE_ARMS = {
    "small": {"share": 0.25, "offer_amount": 5},
    "control": {"share": 0.25},
    "large": {"share": 0.5, "offer_amount": 50},
}
POSTCODES = read_postcodes(PROJECT_DIR / "seeds" / "postcode_socioeconomic_index.csv")
KINDS = {
    "lead": "leads",
    "visitor": "sessions",
    "player": "players",
    "subscriber": "subscribers",
    "customer": "customers",
}


def simulate(n_leads: int, seed: int, n_days: int = 90, **changes: object) -> Simulation:
    arguments = {
        "until": UNTIL,
        "scoring_delay": SCORING_DELAY,
        "horizon": HORIZON,
        "threshold": THRESHOLD,
        "experiment": PLAN,
        "postcodes": POSTCODES,
    }
    return simulate_all(n_leads, n_days, seed, **(arguments | changes))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these gain nothing from threads, which fight where others are at work."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(20_000, seed=7)


@pytest.fixture(scope="module")
def events_of(simulation: Simulation) -> dict[str, pd.DataFrame]:
    """For each kind of entity one row per valid event, its first delivery, by user and time."""
    events = simulation.events[is_valid(simulation.events)].drop_duplicates("event_id")
    kind = events["user_id"].str.partition("-")[0]
    events = events.sort_values(["user_id", "occurred_at"], kind="stable", ignore_index=False)
    return dict(list(events.groupby(kind)))


@pytest.fixture(scope="module")
def clean_events(events_of: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per valid event of a lead."""
    return events_of["lead"]


def is_valid(events: pd.DataFrame) -> pd.Series:
    is_complete = events[["event_id", "event_type", "user_id", "occurred_at"]].notna().all(axis=1)
    is_future = events["occurred_at"] > events["loaded_at"] + timedelta(days=1)
    return is_complete & ~is_future & ~(events["amount"] < 0)


def scored_truth(simulation: Simulation) -> pd.DataFrame:
    return simulation.predictions.merge(
        simulation.truth["leads"].drop(columns="as_of_at"), left_on="entity_id", right_on="user_id"
    )


# The same arguments, the same business ---------------------------------------------------------


def test_same_arguments_give_identical_frames() -> None:
    once, again = simulate(1_500, seed=3), simulate(1_500, seed=3)
    for table, frame in once.tables().items():
        assert_frame_equal(frame, again.tables()[table])


def test_another_seed_gives_other_entities() -> None:
    one, other = simulate(1_500, seed=3), simulate(1_500, seed=4)
    for name in KINDS.values():
        assert set(one.truth[name]["user_id"]).isdisjoint(other.truth[name]["user_id"]), name
    assert set(one.events["event_id"].dropna()).isdisjoint(other.events["event_id"].dropna())
    assert set(one.predictions["prediction_id"]).isdisjoint(other.predictions["prediction_id"])
    assert not np.array_equal(one.truth["leads"]["intent"], other.truth["leads"]["intent"])


def test_another_threshold_leaves_everybody_as_they_were() -> None:
    low, high = simulate(1_500, seed=3, threshold=0.3), simulate(1_500, seed=3, threshold=0.6)
    columns = ["user_id", "landed_at", "intent", "probability_without_coupon"]
    assert_frame_equal(low.truth["leads"][columns], high.truth["leads"][columns])
    assert len(low.assignments) < len(high.assignments)
    for name in set(KINDS.values()) - {"leads"}:
        assert_frame_equal(low.truth[name], high.truth[name])


def test_the_time_zone_of_the_end_does_not_matter() -> None:
    here = simulate(300, seed=3)
    there = simulate(300, seed=3, until=UNTIL.astimezone(timezone(timedelta(hours=-7))))
    assert_frame_equal(here.events, there.events)


def test_no_entity_belongs_to_two_businesses(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    assert set(events_of) == set(KINDS)
    for kind, name in KINDS.items():
        assert simulation.truth[name]["user_id"].str.startswith(f"{kind}-7-").all()
        # Whoever is not in the truth was no subscriber on any Monday, no customer on any first.
        known = events_of[kind]["user_id"].isin(simulation.truth[name]["user_id"])
        assert known.mean() > (0.95 if kind in ("subscriber", "customer") else 0.9999)


def test_businesses_have_their_sizes(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    assert len(simulation.events) < 650_000
    n_users = {kind: events["user_id"].nunique() for kind, events in events_of.items()}
    assert n_users["lead"] == pytest.approx(20_000, rel=0.01)
    assert len(simulation.truth["sessions"]) == pytest.approx(12_000, rel=0.05)
    assert n_users["player"] == pytest.approx(4_000, rel=0.01)
    assert n_users["subscriber"] == pytest.approx(1_500, rel=0.01)
    assert n_users["customer"] == pytest.approx(4_000, rel=0.01)


def test_businesses_live_in_their_days(events_of: dict[str, pd.DataFrame]) -> None:
    for kind, n_days in (
        ("lead", 90),
        ("visitor", 90),
        ("player", 90),
        ("subscriber", 90 + 180),
        ("customer", 90 + 270),
    ):
        began_at = UNTIL - events_of[kind]["occurred_at"].min()
        assert timedelta(days=n_days - 2) < began_at <= timedelta(days=n_days), kind


def test_known_types_carry_what_the_seed_asks_for(simulation: Simulation) -> None:
    types = pd.read_csv(PROJECT_DIR / "seeds" / "event_types.csv", index_col="event_type")
    events = simulation.events[is_valid(simulation.events)]
    assert set(events["event_type"]) - set(types.index) == {"widget_toggled"}
    asked = types.reindex(events["event_type"])
    amount = events["amount"].to_numpy()
    requires_amount = asked["requires_amount"].eq(True).to_numpy()
    assert (np.isnan(amount) == ~requires_amount).all()
    assert not (amount < asked["minimum_amount"].to_numpy()).any()


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
    leads = simulation.truth["leads"]
    missing = leads[~leads["user_id"].isin(created["user_id"])]
    assert len(missing) < 0.01 * len(leads)
    assert (missing["landed_at"] > UNTIL - timedelta(days=3)).all()


def test_leads_land_over_all_days_more_by_day_than_by_night(simulation: Simulation) -> None:
    landed_at = simulation.truth["leads"]["landed_at"]
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
    for table, frame in simulation.tables().items():
        for column in frame.columns[frame.columns.str.endswith("_at")]:
            assert str(frame[column].dtype) == "datetime64[us, UTC]", f"{table}.{column}"


# Orders ----------------------------------------------------------------------------------------


def test_base_rate(simulation: Simulation) -> None:
    probability = simulation.truth["leads"]["probability_without_coupon"]
    assert probability.mean() == pytest.approx(0.25, abs=0.02)


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
    truth = simulation.truth["leads"]
    probability = truth["probability_without_coupon"].where(
        ~truth["got_coupon"], truth["probability_with_coupon"]
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
    predictions, truth = simulation.predictions, simulation.truth["leads"]
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
    arms = simulation.truth["leads"].dropna(subset="arm").set_index("user_id")["arm"]
    assert arms.to_dict() == dict(zip(assignments["entity_id"], assignments["arm"], strict=True))


@pytest.fixture(scope="module")
def three_arms() -> Simulation:
    """A business with two coupons; the smaller one is named first."""
    plan = replace(PLAN, arms=plan_arms("control", THREE_ARMS))
    return simulate(20_000, seed=8, experiment=plan)


def test_arms_stand_as_the_registry_has_them_the_control_first() -> None:
    arms = {
        "a": {"share": 0.333, "offer_amount": 7.5},
        "b": {"share": 0.333},
        "c": {"share": 0.333},
    }
    planned = plan_arms("b", arms)
    assert [arm.arm for arm in planned] == ["b", "a", "c"]
    assert [arm.offer_amount for arm in planned] == [0, Decimal("7.5"), 0]
    assert [arm.share for arm in planned] == pytest.approx([1 / 3] * 3)
    assert [arm.share_from for arm in planned] == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.parametrize("business", ["simulation", "three_arms"])
def test_arms_come_from_the_shared_rule_in_the_planned_share(
    request: pytest.FixtureRequest, business: str
) -> None:
    assignments = request.getfixturevalue(business).assignments
    planned = PLAN.arms if business == "simulation" else plan_arms("control", THREE_ARMS)
    numbers = assign_arm(PLAN.salt, assignments["entity_id"].tolist(), planned)
    arms = [planned[number] for number in numbers]
    assert assignments["arm"].tolist() == [arm.arm for arm in arms]
    assert assignments["offer_amount"].tolist() == [float(arm.offer_amount) for arm in arms]
    for arm in planned:
        assert (assignments["arm"] == arm.arm).mean() == pytest.approx(arm.share, abs=0.02)


def test_treated_order_more_often_by_the_true_effect(simulation: Simulation) -> None:
    eligible = simulation.truth["leads"].dropna(subset="arm")
    effect = (eligible["probability_with_coupon"] - eligible["probability_without_coupon"]).mean()
    assert 0.06 < effect < 0.08
    by_arm = eligible.groupby("arm")[["did_order", "got_coupon"]].agg(["mean", "var", "count"])
    orders, coupons = by_arm["did_order"], by_arm["got_coupon"]
    difference = orders["mean"]["treatment"] - orders["mean"]["control"]
    standard_error = np.sqrt((orders["var"] / orders["count"]).sum())
    # Only whom a coupon reached can be moved by it.
    assert abs(difference - effect * coupons["mean"]["treatment"]) < 3 * standard_error
    assert difference > 3 * standard_error


def test_a_larger_coupon_moves_more(three_arms: Simulation) -> None:
    leads = three_arms.truth["leads"]
    effect = leads["probability_with_coupon"] - leads["probability_without_coupon"]
    by_arm = effect.groupby(leads["arm"]).mean()
    assert by_arm["large"] > by_arm["small"] + 0.02
    # Without a coupon of its own, a lead is asked what the first one would have done.
    assert by_arm["control"] == pytest.approx(by_arm["small"], abs=0.005)
    rates = leads.groupby("arm")["did_order"].mean()
    assert rates["large"] > rates["small"] > rates["control"]


def test_nearly_all_coupons_arrive_soon_after_the_assignment_and_most_are_seen(
    three_arms: Simulation,
) -> None:
    assignments, truth = three_arms.assignments, three_arms.truth["leads"]
    # What happened in the last days may still be on its way.
    old = assignments[assignments["assigned_at"] < UNTIL - timedelta(days=10)]
    paying = old[old["offer_amount"] > 0].set_index("entity_id")
    events = three_arms.events[is_valid(three_arms.events)].drop_duplicates("event_id")
    events = events[events["user_id"].isin(old["entity_id"])].set_index("user_id")
    offered, seen, redeemed = (
        events[events["event_type"] == f"coupon_{what}"] for what in ("offered", "seen", "redeemed")
    )
    for found in (offered, seen, redeemed):
        assert found.index.is_unique
    assert set(offered.index) <= set(paying.index)
    assert len(offered) / len(paying) == pytest.approx(0.97, abs=0.01)
    assert set(offered.index) == set(truth["user_id"][truth["got_coupon"]]) & set(paying.index)
    assert (offered["amount"] == paying["offer_amount"].reindex(offered.index)).all()
    wait = offered["occurred_at"] - paying["assigned_at"].reindex(offered.index)
    assert wait.between(timedelta(seconds=1), timedelta(minutes=20)).all()

    assert set(seen.index) <= set(offered.index)
    assert 0.75 < len(seen) / len(offered) < 0.9
    assert (seen["occurred_at"] >= offered["occurred_at"].reindex(seen.index)).all()
    assert set(redeemed.index) <= set(seen.index)
    assert (redeemed["occurred_at"] > seen["occurred_at"].reindex(redeemed.index)).all()


def test_coupons_drive_nobody_from_the_newsletter(simulation: Simulation) -> None:
    truth = simulation.truth["leads"]
    events = simulation.events[is_valid(simulation.events)]
    created = events[events["event_type"] == "lead_created"].drop_duplicates("user_id")
    reads = created["user_id"][created["properties"].str.contains('"newsletter": true')]
    left = events.loc[events["event_type"] == "newsletter_unsubscribed", "user_id"]
    assert left.isin(reads).all()
    has_left = truth["user_id"].isin(left)
    assert 0.03 < has_left.mean() < 0.05
    in_treatment, in_control = (has_left[truth["arm"] == arm] for arm in ("treatment", "control"))
    standard_error = np.sqrt(
        in_treatment.var() / len(in_treatment) + in_control.var() / len(in_control)
    )
    assert abs(in_treatment.mean() - in_control.mean()) < 3 * standard_error


@pytest.mark.parametrize("offer_amount", [5, 50])
def test_coupons_are_worth_what_the_plan_offers(offer_amount: int) -> None:
    arms = {"control": {"share": 0.25}, "treatment": {"share": 0.75, "offer_amount": offer_amount}}
    simulation = simulate(1_500, seed=5, experiment=replace(PLAN, arms=plan_arms("control", arms)))
    events = simulation.events[is_valid(simulation.events)].drop_duplicates("event_id")
    events = events[events["user_id"].str.startswith("lead-")]
    leads = simulation.truth["leads"]
    reached = leads["user_id"][leads["got_coupon"]]
    offered = events[events["event_type"] == "coupon_offered"]
    redeemed = events[events["event_type"] == "coupon_redeemed"]
    orders = events[events["event_type"] == "order_completed"]
    assert offered["user_id"].isin(reached).all()
    assert len(redeemed) > 0
    assert redeemed["user_id"].is_unique and redeemed["user_id"].isin(reached).all()
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


# What a model can learn ------------------------------------------------------------------------


def auc_on_the_recent_third(
    features: pd.DataFrame, outcome: str, truth: pd.DataFrame
) -> tuple[float, float]:
    """Fit on the earlier two thirds of time; return the ROC AUC of model and truth on the rest.

    The rows of `features` are those of `truth`.
    """
    is_past = (truth["as_of_at"] <= truth["as_of_at"].quantile(2 / 3)).to_numpy()
    model = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=8, random_state=0
    )
    rows, label = features.astype(float).to_numpy(), truth[outcome].to_numpy()
    model.fit(rows[is_past], label[is_past])
    score = model.predict_proba(rows[~is_past])[:, 1]
    return (
        roc_auc_score(label[~is_past], score),
        roc_auc_score(label[~is_past], truth["probability"][~is_past]),
    )


def properties_of(events: pd.DataFrame) -> pd.DataFrame:
    """Return the properties as columns; each distinct text is read once."""
    texts, distinct = pd.factorize(events["properties"])
    table = pd.DataFrame([json.loads(text) for text in distinct])
    return table.take(texts).set_index(events.index)


def assert_outcomes_are_drawn_from(
    probability: pd.Series, outcome: pd.Series, entity: pd.Series
) -> None:
    """The outcomes and the probabilities differ by chance alone; rows of an entity go together."""
    difference = (outcome - probability).groupby(entity.to_numpy()).sum()
    assert abs(difference.sum()) < 3 * np.sqrt((difference**2).sum())


# The shop --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def visits(events_of: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The shop's events, with the start of their visit and its moment of scoring."""
    events = events_of["visitor"]
    given = events["session_id"].fillna("")
    silence = events["occurred_at"] - events.groupby(["user_id", given])["occurred_at"].shift()
    begins = events["session_id"].isna() & ~(silence <= timedelta(minutes=30))
    number = begins.groupby([events["user_id"], given]).cumsum()
    by_visit = events.groupby([events["user_id"], given, number])
    events = events.assign(
        visit=by_visit.ngroup(), started_at=by_visit["occurred_at"].transform("min")
    )
    clicks = events[events["event_type"].str.endswith("_viewed")]
    fifth = clicks[clicks.groupby("visit").cumcount() == 4].set_index("visit")["occurred_at"]
    ten_minutes = events["started_at"] + timedelta(minutes=10)
    fifth = events["visit"].map(fifth)
    return events.assign(as_of_at=ten_minutes.where(~(fifth < ten_minutes), fifth))


@pytest.fixture(scope="module")
def settled_visits(simulation: Simulation, visits: pd.DataFrame) -> pd.DataFrame:
    """The truth of the visits all of whose events have arrived, with their number in `visits`."""
    numbers = visits.groupby("visit")[["user_id", "started_at", "as_of_at"]].first().reset_index()
    truth = simulation.truth["sessions"].merge(
        numbers, on=["user_id", "started_at"], how="left", suffixes=("", "_seen")
    )
    return truth[truth["started_at"] < UNTIL - timedelta(days=4)]


def test_visits_and_their_moments_are_those_of_the_events(
    simulation: Simulation, settled_visits: pd.DataFrame
) -> None:
    assert (settled_visits["as_of_at"] == settled_visits["as_of_at_seen"]).all()
    assert settled_visits["visit"].is_unique
    sessions = simulation.truth["sessions"]
    assert sessions["session_id"].notna().mean() == pytest.approx(0.8, abs=0.02)
    assert sessions["session_id"].dropna().is_unique
    n_visits = sessions.groupby("user_id").size()
    assert set(n_visits) == {1, 2, 3}


def test_orders_follow_the_scoring_moment_in_their_visit(
    visits: pd.DataFrame, settled_visits: pd.DataFrame
) -> None:
    orders = visits[visits["event_type"] == "order_completed"]
    assert (orders["occurred_at"] > orders["as_of_at"]).all()
    amount = orders.set_index("visit")["amount"]
    assert amount.index.is_unique
    ordered = settled_visits["visit"].isin(amount.index)
    assert (ordered == settled_visits["did_order"]).all()
    revenue = settled_visits["visit"].map(amount).fillna(0.0)
    assert (revenue == settled_visits["revenue"]).all()
    assert_outcomes_are_drawn_from(
        settled_visits["probability"], settled_visits["did_order"], settled_visits["user_id"]
    )


def test_an_order_pays_products_seen_in_its_visit(visits: pd.DataFrame) -> None:
    views = visits[visits["event_type"] == "product_viewed"]
    price = properties_of(views)["price"]
    orders = visits[visits["event_type"] == "order_completed"].set_index("visit")
    n_items = properties_of(orders)["n_items"]
    last_price = price.groupby(views["visit"]).agg(list)
    for visit, amount in orders["amount"][
        orders["occurred_at"] < UNTIL - timedelta(days=4)
    ].items():
        assert amount == pytest.approx(sum(last_price[visit][-n_items[visit] :]))


@pytest.fixture(scope="module")
def visit_features(visits: pd.DataFrame, settled_visits: pd.DataFrame) -> pd.DataFrame:
    """What is known of each settled visit at its scoring moment."""
    known = visits[visits["occurred_at"] <= visits["as_of_at"]]
    known = known.join(properties_of(known)[["product", "category", "price", "page", "device"]])
    by_visit = known.groupby("visit")
    features = pd.DataFrame(
        {
            "n_clicks": by_visit.size(),
            "n_product_views": by_visit["product"].count(),
            "n_products": by_visit["product"].nunique(),
            "n_categories": by_visit["category"].nunique(),
            "mean_price": by_visit["price"].mean(),
            "highest_price": by_visit["price"].max(),
            "mean_page": by_visit["page"].mean(),
            "seconds": (known["as_of_at"] - known["started_at"])
            .dt.total_seconds()
            .groupby(known["visit"])
            .first(),
            "is_mobile": (known["device"] == "mobile").groupby(known["visit"]).first(),
        }
    )
    return features.loc[settled_visits["visit"]]


def test_who_orders_shows_in_the_first_clicks(
    settled_visits: pd.DataFrame, visit_features: pd.DataFrame
) -> None:
    assert 0.08 < settled_visits["did_order"].mean() < 0.1
    auc, best_auc = auc_on_the_recent_third(visit_features, "did_order", settled_visits)
    assert 0.70 < auc < 0.80 < best_auc


def test_revenue_goes_with_the_prices_seen(
    settled_visits: pd.DataFrame, visit_features: pd.DataFrame
) -> None:
    did_order = settled_visits["did_order"].to_numpy()
    price = visit_features["mean_price"][did_order]
    revenue = settled_visits["revenue"][did_order].set_axis(price.index)
    assert price.corr(revenue, method="spearman") > 0.5


# Players ---------------------------------------------------------------------------------------


def players_at_their_moment(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the truth of the players whose week is over, and all events with their moment."""
    players = simulation.truth["players"]
    # Three more days, because an event may arrive that late.
    players = players[players["as_of_at"] + timedelta(days=7 + 3) <= UNTIL]
    return players, events_of["player"].merge(players[["user_id", "as_of_at"]], on="user_id")


def test_churned_players_are_silent_for_a_week(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    players, events = players_at_their_moment(simulation, events_of)
    age = events["occurred_at"] - events["as_of_at"]
    in_week = events["user_id"][(age > timedelta(0)) & (age <= timedelta(days=7))]
    assert (players["did_churn"] == ~players["user_id"].isin(in_week)).all()
    came_back = events["user_id"][age > timedelta(days=7)]
    assert 0 < players["user_id"].isin(came_back)[players["did_churn"]].mean() < 0.1
    assert_outcomes_are_drawn_from(players["probability"], players["did_churn"], players["user_id"])
    is_mislabelled = players["label"] != players["did_churn"]
    assert is_mislabelled.mean() == pytest.approx(0.03, abs=0.01)


def test_registrations_say_who_and_where(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    events = events_of["player"]
    registered = events[events["event_type"] == "new_registration"]
    assert registered["user_id"].is_unique
    said = pd.DataFrame(registered["properties"].map(json.loads).tolist())
    columns = ["name", "date_of_birth", "street_address", "city", "country", "postcode"]
    columns += ["affiliate_url", "campaign", "label"]
    assert list(said.columns[:9]) == columns
    assert said[columns].drop(columns="affiliate_url").notna().all(axis=None)
    assert (said["affiliate_url"].isna() == (said["campaign"] == "friends")).all()
    years = (
        registered["occurred_at"].dt.tz_localize(None).reset_index(drop=True)
        - pd.to_datetime(said["date_of_birth"], format="%Y-%m-%d")
    ).dt.days / 365.25
    assert years.between(17.99, 90).all()
    homes = said.merge(POSTCODES, on=["country", "postcode"], how="left")
    assert homes["socioeconomic_index"].isna().mean() == pytest.approx(0.04, abs=0.015)
    truth = registered["user_id"].to_frame().merge(simulation.truth["players"], on="user_id")
    is_known = homes["socioeconomic_index"].notna()
    assert (homes["socioeconomic_index"] == truth["socioeconomic_index"])[is_known].all()
    assert (said["label"] == truth["label"]).all()


def test_players_pay_then_bet_then_win(events_of: dict[str, pd.DataFrame]) -> None:
    events = events_of["player"]
    # The last days apart, when what came first may still be on its way.
    events = events[events["occurred_at"] < UNTIL - timedelta(days=3)]
    ranks = {"new_registration": 0, "new_purchase": 1, "new_bet": 2, "new_win": 3}
    firsts = events.pivot_table(
        index="user_id", columns="event_type", values="occurred_at", aggfunc="min"
    )[list(ranks)]
    for earlier, later in zip(firsts.columns, firsts.columns[1:], strict=False):
        happened = firsts.dropna(subset=later)
        assert (happened[earlier] < happened[later]).all(), later
    is_win = events["event_type"] == "new_win"
    n_bets = (events["event_type"] == "new_bet").groupby(events["user_id"]).cumsum()
    assert (n_bets >= is_win.groupby(events["user_id"]).cumsum()).all()
    money = events.groupby("event_type")["amount"].sum()
    assert 0.85 < money["new_win"] / money["new_bet"] < 1.0


def test_churn_after_the_first_day_can_be_learned(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    players, events = players_at_their_moment(simulation, events_of)
    assert players["did_churn"].mean() == pytest.approx(0.35, abs=0.03)
    known = events[events["occurred_at"] <= events["as_of_at"]]
    by_type = known.pivot_table(
        index="user_id", columns="event_type", values="amount", aggfunc=["sum", "count"]
    )
    by_type.columns = ["_".join(names) for names in by_type.columns]
    registered = known[known["event_type"] == "new_registration"].set_index("user_id")
    said = properties_of(registered)
    homes = said.reset_index().merge(POSTCODES, on=["country", "postcode"], how="left")
    born_at = pd.to_datetime(said["date_of_birth"], utc=True)
    features = by_type.assign(
        age=(registered["occurred_at"] - born_at).dt.days,
        socioeconomic_index=homes.set_index("user_id")["socioeconomic_index"],
    ).join(pd.get_dummies(said["campaign"]))
    features = features.reindex(players["user_id"])
    auc, best_auc = auc_on_the_recent_third(features, "did_churn", players)
    assert 0.72 < auc < best_auc


# Subscribers -----------------------------------------------------------------------------------


def subscribers_on_mondays(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the truth of the Mondays whose 28 days are over, and each with its person's events."""
    rows = simulation.truth["subscribers"]
    rows = rows[rows["as_of_at"] + timedelta(days=28 + 3) <= UNTIL].reset_index(drop=True)
    events = events_of["subscriber"][["user_id", "event_type", "occurred_at", "properties"]]
    pairs = rows[["user_id", "as_of_at"]].reset_index(names="row").merge(events, on="user_id")
    pairs["days_before"] = (pairs["as_of_at"] - pairs["occurred_at"]).dt.total_seconds() / 86_400
    return rows, pairs


def test_cancellations_are_those_of_the_truth(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    rows, pairs = subscribers_on_mondays(simulation, events_of)
    cancels = pairs[pairs["event_type"] == "subscription_cancelled"]
    cancelled = cancels["row"][(cancels["days_before"] < 0) & (cancels["days_before"] >= -28)]
    assert (rows["did_cancel"] == rows.index.isin(cancelled)).all()
    assert_outcomes_are_drawn_from(rows["probability"], rows["did_cancel"], rows["user_id"])
    # A row stands for every running subscription and for no other.
    is_known = (pairs["days_before"] >= 0).astype(int)
    starts = is_known[pairs["event_type"] == "subscription_started"].groupby(pairs["row"]).sum()
    ends = is_known[pairs["event_type"] == "subscription_cancelled"].groupby(pairs["row"]).sum()
    assert (starts - ends.reindex(starts.index, fill_value=0) == 1).all()
    assert len(starts) == len(rows)


def test_subscriptions_make_sense(events_of: dict[str, pd.DataFrame]) -> None:
    events = events_of["subscriber"]
    is_type = {name: events["event_type"] == name for name in events["event_type"].unique()}
    change = is_type["subscription_started"].astype(int) - is_type["subscription_cancelled"]
    # The last days apart, when a start may still be on its way.
    old = events["occurred_at"] < UNTIL - timedelta(days=3)
    running = change.groupby(events["user_id"]).cumsum()
    assert running[old].isin([0, 1]).all()
    assert (running[old & ~is_type["subscription_cancelled"]] == 1).all()
    n_starts = is_type["subscription_started"].groupby(events["user_id"]).sum()
    assert 0.01 < (n_starts == 2).mean() < 0.08
    assert n_starts.max() == 2

    started = events[is_type["subscription_started"]]
    prices = properties_of(started).set_index(started["user_id"])["monthly_price"]
    invoices = events[is_type["invoice_paid"] & old]
    assert (invoices["amount"] == invoices["user_id"].map(prices.groupby(level=0).first())).all()
    months = invoices.groupby("user_id")["occurred_at"].diff().dropna().dt.days
    assert (months == 30).mean() > 0.95 and months.min() >= 14


def test_cancellations_can_be_learned_week_by_week(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    rows, pairs = subscribers_on_mondays(simulation, events_of)
    assert 0.06 < rows["did_cancel"].mean() < 0.12
    known = pairs[pairs["days_before"] >= 0]
    window = pd.cut(known["days_before"], [-0.001, 7, 28, np.inf], labels=["week", "month", "all"])
    counts = pd.crosstab(known["row"], [known["event_type"], window], dropna=False)
    counts = counts.reindex(rows.index, fill_value=0)
    is_start = known["event_type"] == "subscription_started"
    last_start = known[is_start].drop_duplicates("row", keep="last").set_index("row")
    features = pd.DataFrame(
        {
            "sign_ins_7": counts["signed_in", "week"],
            "sign_ins_8_to_28": counts["signed_in", "month"],
            "limits_28": counts["limit_reached"][["week", "month"]].sum(axis=1),
            "pricing_28": counts["pricing_viewed"][["week", "month"]].sum(axis=1),
            "tenure": last_start["days_before"],
        }
    ).join(pd.get_dummies(properties_of(last_start)["plan"]))
    auc, best_auc = auc_on_the_recent_third(features, "did_cancel", rows)
    assert 0.68 < auc < best_auc


# Customers -------------------------------------------------------------------------------------


def customers_on_firsts(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the truth of the months whose 90 days are over, each with its person's events."""
    rows = simulation.truth["customers"]
    rows = rows[rows["as_of_at"] + timedelta(days=90 + 3) <= UNTIL].reset_index(drop=True)
    events = events_of["customer"][["user_id", "event_type", "occurred_at", "amount"]]
    pairs = rows[["user_id", "as_of_at"]].reset_index(names="row").merge(events, on="user_id")
    pairs["days_before"] = (pairs["as_of_at"] - pairs["occurred_at"]).dt.total_seconds() / 86_400
    return rows, pairs


def recency_frequency_money(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return, for each `row`, what its orders and coupons up to its moment say."""
    known = pairs[pairs["days_before"] >= 0]
    orders = known[known["event_type"] == "order_completed"].groupby("row")
    coupons = known[known["event_type"] == "coupon_redeemed"].groupby("row")
    paid = orders["amount"].sum()
    discount = coupons["amount"].sum().reindex(paid.index, fill_value=0.0)
    return pd.DataFrame(
        {
            "recency": orders["days_before"].min(),
            "tenure": orders["days_before"].max(),
            "frequency": orders.size(),
            "money": paid / orders.size(),
            "discount_share": discount / (paid + discount),
        }
    )


def test_churned_customers_order_nothing_for_90_days(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    rows, pairs = customers_on_firsts(simulation, events_of)
    orders = pairs[pairs["event_type"] == "order_completed"]
    ordered = orders["row"][(orders["days_before"] < 0) & (orders["days_before"] >= -90)]
    assert (rows["did_churn"] == ~rows.index.isin(ordered)).all()
    # A row stands for whoever has ordered by then, and for nobody else.
    assert set(orders["row"][orders["days_before"] >= 0]) == set(rows.index)
    assert_outcomes_are_drawn_from(rows["probability"], rows["did_churn"], rows["user_id"])


def test_coupons_come_off_orders(events_of: dict[str, pd.DataFrame]) -> None:
    events = events_of["customer"]
    events = events[events["occurred_at"] < UNTIL - timedelta(days=3)]
    orders = events[events["event_type"] == "order_completed"]
    coupons = events[events["event_type"] == "coupon_redeemed"]
    pairs = coupons.merge(orders, on=["user_id", "occurred_at"], suffixes=("", "_paid"))
    assert len(pairs) == len(coupons)
    share = pairs["amount"] / (pairs["amount"] + pairs["amount_paid"])
    assert share.between(0.19, 0.41).all()
    assert (events["amount"] == events["amount"].round(2)).all()


def test_churn_of_customers_can_be_learned(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    rows, pairs = customers_on_firsts(simulation, events_of)
    assert 0.4 < rows["did_churn"].mean() < 0.6
    features = recency_frequency_money(pairs).reindex(rows.index)
    auc, best_auc = auc_on_the_recent_third(features, "did_churn", rows)
    assert 0.75 < auc < best_auc


def test_customers_fall_into_four_personas(
    simulation: Simulation, events_of: dict[str, pd.DataFrame]
) -> None:
    personas = simulation.truth["customers"].drop_duplicates("user_id", keep="last")
    events = events_of["customer"].merge(
        personas.reset_index(names="row")[["user_id", "row", "persona"]], on="user_id"
    )
    days_before = (UNTIL - events["occurred_at"]).dt.total_seconds() / 86_400
    features = recency_frequency_money(events.assign(days_before=days_before)).drop(
        columns="tenure"
    )
    persona = personas["persona"].loc[features.index]
    points = StandardScaler().fit_transform(features)
    clusters = {k: KMeans(k, n_init=4, random_state=0).fit_predict(points) for k in range(2, 7)}
    silhouette = {
        k: silhouette_score(points, labels, sample_size=2_000, random_state=0)
        for k, labels in clusters.items()
    }
    assert silhouette[4] > 0.25
    assert silhouette[4] == max(silhouette.values())
    assert adjusted_rand_score(persona, clusters[4]) > 0.5


# Edges -----------------------------------------------------------------------------------------


def test_a_business_too_young_to_have_been_scored() -> None:
    simulation = simulate(50, seed=1, n_days=2)
    assert len(simulation.predictions) == len(simulation.assignments) == 0
    assert len(simulation.truth["leads"]) == 50
    assert simulation.truth["leads"]["arm"].isna().all()


@pytest.mark.parametrize("arm", ["control", "treatment"])
def test_everybody_in_one_arm(arm: str) -> None:
    arms = {
        "control": {"share": float(arm == "control")},
        "treatment": {"share": float(arm == "treatment"), "offer_amount": 20},
    }
    plan = replace(PLAN, arms=plan_arms("control", arms))
    assert set(simulate(500, seed=1, experiment=plan).assignments["arm"]) == {arm}


def test_one_lead() -> None:
    simulation = simulate(1, seed=1, n_days=1)
    assert len(simulation.truth["leads"]) == len(simulation.truth["players"]) == 1


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
        ({"experiment": replace(PLAN, arms=(replace(PLAN.arms[0], share=-0.1),))}, "the shares"),
        ({"experiment": replace(PLAN, arms=PLAN.arms[:1])}, "offered anything"),
        ({"experiment": replace(PLAN, arms=(replace(PLAN.arms[1], offer_amount=60),))}, "not 60"),
        ({"postcodes": POSTCODES.head(0)}, "postcodes"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(LeadlightError, match=message):
        simulate(**({"n_leads": 10, "seed": 1} | changes))


def test_postcodes_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "postcodes.csv"
    path.write_text("postcode,socioeconomic_index,country\n01067,5,NA\n")
    expected = [("NA", "01067", 5.0)]
    assert list(read_postcodes(path).itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize("content", [None, "", "country,postcode\nDE,01067\n", "a\nb\n"])
def test_a_table_of_postcodes_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "postcodes.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LeadlightError, match="must be a table of country, postcode"):
        read_postcodes(path)


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
        n_rows = sum(len(frame) for frame in simulation.tables().values())
        assert n_written == sum(reported) == n_rows

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

        for kind, name in KINDS.items():
            frame = simulation.truth[name]
            time = next(column for column in frame.columns if column.endswith("_at"))
            frame = frame.sort_values(["user_id", time])
            truth = connection.execute(
                sql.SQL("select * from {} where user_id like {} order by user_id, {}").format(
                    sql.Identifier("simulation", name),
                    f"{kind}-901-%",
                    sql.Identifier(time),
                )
            ).fetchall()
            expected = frame.astype(object).where(frame.notna(), None)
            assert truth == list(expected.itertuples(index=False, name=None)), name

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
            " + (select count(*) from tracking.events where event_id like 'event-904-%')"
        ).fetchone()
        assert count == (0,)
