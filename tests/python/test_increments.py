"""Whatever arrives in whatever order: increments give what a full refresh gives.

One made-up world holds several hundred leads, each with deliveries of its own: late, twice, out of
order, in batches days apart. After each batch dbt runs once more, its clock moved on; at the end
everything is built anew and compared row by row. Leads whose schedule is awkward in one certain way
stand in a family of that name, so that each awkwardness fails by itself; and so do thirty versions
of the model, whose leads each have a schedule of batches, delays and quiet days drawn at random.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest
import yaml
from conftest import PROJECT_DIR
from helpers import DBT_SCHEMAS, EXPERIMENTS, fetch, fetch_value, relations

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
START = datetime(2025, 3, 3, tzinfo=UTC)

# When dbt runs, one run a batch: six runs as time goes by, then one more, one with the clock put
# back, and one with the clock put right.
CLOCK = [START + days * DAY for days in (9, 14, 20, 27, 33, 42, 48, 45.5, 56)]
FORWARD, BACK = range(6), 7
# The state after this run is kept: nothing comes after it that was loaded before it.
PAST = 2
# The run of this batch is killed half way, and begins anew.
KILLED = 4
# A batch holds rows that were loaded up to a week before the run before it, ...
SINCE = [START, *(max(CLOCK[:batch]) - 7 * DAY for batch in range(1, len(CLOCK)))]
SINCE[PAST + 1 :] = [max(since, CLOCK[PAST]) for since in SINCE[PAST + 1 :]]
# ... and some that were numbered before rows that the run before it has seen: their transaction
# was open for this long, within the project's `late_arrival_days`.
OPEN = 3 * DAY - HOUR

AWKWARD = (
    "relanded",
    "moved_time",
    "moved_person",
    "moved_type",
    "early_assignment",
    "unregistered",
)
N_SCHEDULES = 30
COUPON = EXPERIMENTS["lead_coupon"]
FAMILIES = ("plain", "schedule", *AWKWARD)


# The world -------------------------------------------------------------------------------------


@dataclass
class World:
    """Rows by batch.

    `overtaken` marks rows that were numbered before what the run before their batch has seen.
    """

    events: dict[int, list[dict]] = field(default_factory=dict)
    predictions: dict[int, list[dict]] = field(default_factory=dict)
    assignments: dict[int, list[dict]] = field(default_factory=dict)

    def event(
        self,
        batch: int,
        loaded_at: datetime,
        event_id: str | None,
        event_type: str | None,
        user_id: str | None,
        occurred_at: datetime | None,
        **rest: Any,
    ) -> None:
        row = {"event_id": event_id, "event_type": event_type, "user_id": user_id}
        row |= {"occurred_at": occurred_at, "loaded_at": loaded_at, "properties": {}} | rest
        row.setdefault("overtaken", False)
        self.events.setdefault(batch, []).append(row)

    def prediction(
        self, batch: int, loaded_at: datetime, entity_id: str, as_of_at: datetime, **rest: Any
    ) -> str:
        """Add a prediction and return its id."""
        row = {"task": "lead_conversion", "run_kind": "live", "entity_id": entity_id}
        row |= {"as_of_at": as_of_at, "predicted_at": as_of_at + MINUTE, "loaded_at": loaded_at}
        row |= {"model_version": family_of(entity_id), "threshold": 0.3, "attributes": {}} | rest
        row.setdefault("overtaken", False)
        n_before = sum(map(len, self.predictions.values()))
        row["prediction_id"] = f"00000000-0000-0000-0000-{n_before:012d}"
        self.predictions.setdefault(batch, []).append(row)
        return row["prediction_id"]

    def assignment(
        self, batch: int, loaded_at: datetime, entity_id: str, assigned_at: datetime, **rest: Any
    ) -> None:
        row = {"experiment": f"{family_of(entity_id)}_coupon", "entity_id": entity_id}
        row |= {"assigned_at": assigned_at, "arm": "coupon", "offer_amount": 20} | rest
        row |= {"loaded_at": loaded_at}
        row.setdefault("overtaken", False)
        self.assignments.setdefault(batch, []).append(row)


@dataclass(frozen=True)
class Schedule:
    """When a family's rows may arrive.

    `batches` are those in which anything of it does; of the batches that come after something
    happened, it arrives in one drawn from `delays`; nobody lands between the two `quiet` days.
    """

    batches: frozenset[int]
    delays: tuple[int, ...]
    quiet: tuple[float, float]


# What arrives while the clock is put back waits for a full refresh, as the README says.
PLAIN = Schedule(frozenset(range(len(CLOCK))) - {BACK}, (0, 0, 0, 1, 2), (15, 17))


def drawn_schedule(rng: random.Random) -> Schedule:
    """Draw some of the batches, how late things come, and some days on which nobody lands."""
    batches = [
        *rng.sample((1, 2, 3), 1),
        *rng.sample(sorted(PLAIN.batches), rng.randint(2, len(PLAIN.batches))),
    ]
    delays = rng.choice(((0,), (0, 1), (0, 0, 1, 2, 3), (1, 2), (0, 5)))
    first_quiet_day = rng.uniform(0, 34)
    return Schedule(
        frozenset(batches), delays, (first_quiet_day, first_quiet_day + rng.uniform(1, 20))
    )


def family_of(entity_id: str) -> str:
    return entity_id.split(":")[0]


def arrival(rng: random.Random, batch: int, earliest: datetime) -> datetime:
    """Draw when a row of a batch was loaded.

    Whole hours, so that several deliveries were loaded at the same moment.
    """
    first = min(max(SINCE[batch], earliest - 12 * HOUR), CLOCK[batch])
    n_hours = int((CLOCK[batch] - first) / HOUR)
    return CLOCK[batch] - rng.randint(0, max(0, n_hours - 1)) * HOUR


def was_open(rng: random.Random, batch: int, loaded_at: datetime) -> bool:
    """Draw whether a row's transaction was still open when the run before its batch began."""
    return batch > 0 and rng.random() < 0.15 and loaded_at > max(CLOCK[:batch]) - OPEN


def some_batch(rng: random.Random, at: datetime, schedule: Schedule = PLAIN) -> int | None:
    """Draw a batch in which something may arrive that happened then; None if it never does."""
    batches = [batch for batch in sorted(schedule.batches) if CLOCK[batch] >= at]
    return batches[min(rng.choice(schedule.delays), len(batches) - 1)] if batches else None


def add_lead(world: World, rng: random.Random, lead: str, schedule: Schedule = PLAIN) -> None:
    first_quiet_day, last_quiet_day = (START + days * DAY for days in schedule.quiet)
    landed_at = START + rng.uniform(0, 54) * DAY
    if first_quiet_day < landed_at < last_quiet_day:
        landed_at = last_quiet_day
    landed_at = landed_at.replace(microsecond=0)
    as_of_at = landed_at + DAY

    happened: list[tuple[str, datetime, dict[str, Any]]] = []
    medium = rng.choice(("cpc", "email", None))
    happened.append(("lead_created", landed_at, {"properties": {"utm_medium": medium}}))
    known_from = some_batch(rng, landed_at, schedule)
    for _ in range(rng.randint(0, 4)):
        visited_at = landed_at + rng.uniform(-2, 10) * DAY
        session_id = rng.choice((None, None, f"{lead}-s{rng.randint(1, 3)}"))
        for _ in range(rng.randint(1, 4)):
            kind = rng.choice(("page_viewed", "product_viewed", "pricing_viewed", "odd_thing"))
            document = {"path": rng.choice("/ab"), "device": rng.choice(("mobile", "desktop"))}
            if kind == "product_viewed":
                document["category"] = rng.choice(("bags", "shoes", None))
                document["price"] = rng.choice((rng.randint(5, 90), "dear"))
            visit = {"session_id": session_id, "properties": document}
            happened.append((kind, visited_at, visit))
            visited_at += rng.uniform(1, 40) * MINUTE
    order_times = [landed_at + rng.uniform(0, 25) * DAY for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    # At the very edges of features and label.
    edges = (timedelta(0), timedelta(microseconds=1))
    if rng.random() < 0.2:
        order_times.append(as_of_at + rng.choice((0, 14)) * DAY + rng.choice(edges))
    for ordered_at in order_times:
        order = {"amount": round(rng.uniform(10, 250), 2)}
        if rng.random() < 0.3:
            order["session_id"] = f"{lead}-s1"
        happened.append(("order_completed", ordered_at, order))

    if rng.random() < 0.2:  # leaves the address once more
        happened.append(("lead_created", landed_at + rng.uniform(1, 9) * HOUR, {}))
    add_deliveries(world, rng, lead, happened, known_from, schedule)
    if rng.random() < 0.3:
        add_broken_delivery(world, rng, f"{lead}-broken", lead, landed_at)

    if rng.random() < 0.9:
        add_predictions(world, rng, lead, as_of_at, schedule)


def add_deliveries(
    world: World,
    rng: random.Random,
    person: str,
    happened: list[tuple[str, datetime, dict[str, Any]]],
    known_from: int | None = None,
    schedule: Schedule = PLAIN,
) -> None:
    """Deliver what a person did, some of it late, twice, or told differently the second time.

    The lead itself is delivered in the batch `known_from`, and no other lead before it.
    """
    for number, (event_type, occurred_at, rest) in enumerate(happened):
        event_id = f"{person}-{number}"
        n_deliveries = rng.choice((1, 1, 1, 1, 2, 2, 3))
        for delivery in range(n_deliveries):
            batch = some_batch(rng, occurred_at, schedule)
            if batch is None or (event_type == "lead_created" and known_from is None):
                continue
            if event_type == "lead_created":
                batch = known_from if not (number or delivery) else max(batch, known_from)
            contents = {"properties": {}} | rest
            if delivery and rng.random() < 0.3:  # the same event, told differently
                contents["properties"] = {"utm_medium": "social", "delivery": delivery}
                if "amount" in rest:
                    contents["amount"] = round(rest["amount"] + delivery, 2)
            loaded_at = arrival(rng, batch, occurred_at)
            contents["overtaken"] = n_deliveries == 1 and was_open(rng, batch, loaded_at)
            world.event(batch, loaded_at, event_id, event_type, person, occurred_at, **contents)


def add_plain_player(world: World, rng: random.Random, number: int) -> None:
    """Add somebody who registers, pays in, bets and wins, on the first day and after."""
    player = f"plain:player-{number}"
    registered_at = (START + rng.uniform(0, 50) * DAY).replace(microsecond=0)
    document = {
        "date_of_birth": f"{rng.randint(1950, 2005)}-02-29",
        "country": rng.choice(("AT", None)),
        "postcode": rng.choice(("1300", "1570", "none", None)),
        "campaign": rng.choice(("spring", "friends")),
    }
    happened = [("new_registration", registered_at, {"properties": document})]
    if rng.random() < 0.2:  # registers once more
        happened.append(("new_registration", registered_at + rng.uniform(1, 90) * HOUR, {}))
    for _ in range(rng.randint(0, 8)):
        kind = rng.choice(("new_purchase", "new_bet", "new_win"))
        played_at = registered_at + rng.choice((1, 1, 1, 12)) * rng.uniform(0, 1) * DAY
        happened.append((kind, played_at, {"amount": round(rng.uniform(1, 90), 2)}))
    # At the very edges of features and label.
    for days in (1, 8):
        for edge in (timedelta(0), timedelta(microseconds=1)):
            if rng.random() < 0.2:
                happened.append(("new_bet", registered_at + days * DAY + edge, {"amount": 5}))
    add_deliveries(world, rng, player, happened)


def add_plain_subscriber(world: World, rng: random.Random, number: int) -> None:
    """Add somebody who subscribes, uses the app, pays, and may cancel and come back."""
    subscriber = f"plain:subscriber-{number}"
    at = (START + rng.uniform(-30, 40) * DAY).replace(microsecond=0)
    happened: list[tuple[str, datetime, dict[str, Any]]] = []
    while at < START + 50 * DAY:
        document = {"plan": rng.choice(("basic", "team")), "monthly_price": rng.choice((9, 29))}
        happened.append(("subscription_started", at, {"properties": document}))
        ends_at = at + rng.uniform(2, 60) * DAY
        # Mondays at midnight are when subscribers are looked at.
        if rng.random() < 0.2:
            ends_at = START + rng.randint(1, 8) * 7 * DAY
        happened.append(("invoice_paid", at + HOUR, {"amount": document["monthly_price"]}))
        for _ in range(rng.randint(0, 12)):
            kind = rng.choice(("signed_in", "signed_in", "editor_opened", "limit_reached"))
            happened.append((kind, at + rng.uniform(0, 1) * (ends_at - at), {}))
        happened.append(("subscription_cancelled", ends_at, {}))
        at = ends_at + rng.choice((1, 20, 90)) * DAY
    add_deliveries(world, rng, subscriber, happened)


def add_broken_delivery(
    world: World, rng: random.Random, event_id: str, lead: str, landed_at: datetime
) -> None:
    batch = some_batch(rng, landed_at)
    loaded_at = arrival(rng, batch, landed_at)
    row = {"event_id": event_id, "event_type": "page_viewed", "user_id": lead}
    row |= {"occurred_at": landed_at}
    way = rng.choice(("null", "null", "null", "null", "properties", "negative", "future"))
    if way == "null":
        row[rng.choice(list(row))] = None
    elif way == "properties":
        row["properties"] = []
    elif way == "negative":
        row |= {"event_type": "order_completed", "amount": -1}
    else:
        row["occurred_at"] = loaded_at + rng.uniform(1.1, 5) * DAY
        # Told once more when it has happened, the event counts.
        again = some_batch(rng, row["occurred_at"])
        if again is not None and again > batch:
            world.event(again, arrival(rng, again, row["occurred_at"]), **row)
    world.event(batch, loaded_at, **row)


def add_predictions(
    world: World, rng: random.Random, lead: str, as_of_at: datetime, schedule: Schedule
) -> None:
    batch = some_batch(rng, as_of_at, schedule)
    if batch is None:
        return
    slices = {"utm_medium": "cpc", "device": "mobile", "country": rng.choice(("DE", None))}
    score = rng.choice((0.0, 1.0, 0.3, rng.randint(0, 1000) / 1000, rng.random()))
    loaded_at = arrival(rng, batch, as_of_at)
    chosen = {"score": score, "attributes": rng.choice((slices, {}))}
    chosen["overtaken"] = was_open(rng, batch, loaded_at)
    prediction_id = world.prediction(batch, loaded_at, lead, as_of_at, **chosen)
    if rng.random() < 0.3:
        shadow = {"model_version": "plain-shadow", "score": rng.random()}
        for number in {batch, some_batch(rng, as_of_at, schedule)}:
            shadow["as_of_at"] = as_of_at + (number - batch) * HOUR
            world.prediction(number, arrival(rng, number, as_of_at), lead, **shadow)
    if rng.random() < 0.2:
        backtest = {"run_kind": "backtest", "score": rng.random()}
        world.prediction(batch, loaded_at, lead, as_of_at, **backtest)
    no_score = {"threshold": None, "model_version": "plain"}
    if rng.random() < 0.3:
        world.prediction(batch, loaded_at, lead, as_of_at, task="stays", score=rng.random())
        spends = {"task": "spends", "predicted_value": rng.uniform(0, 100)} | no_score
        spends["run_kind"] = rng.choice(("live", "live", "backtest"))
        world.prediction(batch, loaded_at, lead, as_of_at, **spends)
        visit = {"task": "session_buys", "score": rng.random(), "model_version": "plain"}
        visit_id = world.prediction(batch, loaded_at, f"{lead}-s1", as_of_at, **visit)
        add_visits(world, lead, batch, as_of_at, visit_id)
        mystery = {"task": "mystery", "segment": rng.randint(0, 3)} | no_score
        mystery["attributes"] = {"coordinates": [rng.random(), rng.random()]}
        world.prediction(batch, loaded_at, lead, as_of_at, **mystery)
    for experiment, share in (("plain_coupon", 0.6), ("plain_mail", 0.2)):
        later = min(batch + rng.choice((0, 0, 1)), len(CLOCK) - 1)
        if later == BACK:
            later += 1
        if rng.random() < share:
            is_treated = rng.random() < 0.6  # four of five, says the registry
            loaded_at = arrival(rng, later, as_of_at)
            world.assignment(
                later,
                loaded_at,
                lead,
                as_of_at + rng.randint(2, 90) * MINUTE,
                experiment=experiment,
                arm="coupon" if is_treated else "control",
                offer_amount=20 if is_treated else 0,
                prediction_id=rng.choice((prediction_id, prediction_id, None)),
                overtaken=was_open(rng, later, loaded_at),
            )
            if experiment == "plain_coupon":
                add_coupon_events(world, lead, as_of_at, is_treated)


def add_visits(world: World, lead: str, batch: int, as_of_at: datetime, prediction_id: str) -> None:
    """Assign some visits of a lead, who may have visits in several arms."""
    rng = random.Random(f"visits of {lead}")
    for number in (1, 2):
        arm = rng.choice(("control", "small", "large"))
        offer = {"control": 0, "small": 5, "large": 10}[arm]
        world.assignment(
            batch,
            arrival(rng, batch, as_of_at),
            f"{lead}-s{number}",
            as_of_at - rng.randint(0, 48) * HOUR,
            experiment="plain_visit",
            arm=arm,
            offer_amount=offer,
            prediction_id=prediction_id if number == 1 else None,
        )


def add_coupon_events(world: World, lead: str, as_of_at: datetime, is_treated: bool) -> None:
    """Tell what became of an offer, late and twice; some had one before, or though in control."""
    rng = random.Random(f"coupons of {lead}")
    offered_at = as_of_at + rng.choice((-3 * DAY, 2 * HOUR, 2 * HOUR, 2 * HOUR, 20 * DAY))
    story = [("coupon_offered", offered_at, 20), ("coupon_seen", offered_at + HOUR, None)]
    story += [("coupon_redeemed", offered_at + DAY, rng.choice((20, 12.5)))]
    story = story[: rng.randint(1, 3)] if is_treated or rng.random() < 0.1 else []
    if rng.random() < 0.2:
        story.append(("newsletter_unsubscribed", as_of_at + rng.uniform(-2, 16) * DAY, None))
    for number, (event_type, occurred_at, amount) in enumerate(story):
        for batch in {some_batch(rng, occurred_at), some_batch(rng, occurred_at)} - {None}:
            world.event(
                batch,
                arrival(rng, batch, occurred_at),
                f"{lead}-coupon-{number}",
                event_type,
                lead,
                occurred_at,
                amount=amount,
            )


def add_plain_answers(world: World, rng: random.Random) -> None:
    """Add what a model says that is asked often, for 40 days, and goes wrong after two weeks."""
    for number in range(2400):
        as_of_at = START + number / 60 * DAY
        chosen = {"task": "asked_often", "model_version": "plain"}
        chosen |= {"score": 0.3 * rng.random() if number < 900 else rng.uniform(0.6, 1)}
        if number < 600:
            chosen["run_kind"] = "backtest"
        batch = some_batch(rng, as_of_at)
        loaded_at = arrival(rng, batch, as_of_at)
        world.prediction(batch, loaded_at, f"plain:{number % 400}", as_of_at, **chosen)


def add_awkward(world: World, number: int) -> None:
    """Add one lead of each awkward family; each has come of age when its surprise arrives."""
    hour = number * HOUR
    # What is loaded at `late` arrives in the batch after what is loaded at `early`.
    first, second = PAST + 1, PAST + 2
    early, late = CLOCK[first] - DAY, CLOCK[first] - 2 * DAY
    landed_at = START + DAY + hour
    as_of_at = landed_at + DAY

    def lead(name: str, batch: int = 0) -> str:
        lead = f"{name}:{number}"
        world.event(batch, START + 5 * DAY, f"{lead}-created", "lead_created", lead, landed_at)
        return lead

    # Left the address before, as turns out when features and label have been built.
    relanded = lead("relanded")
    world.event(second, late, f"{relanded}-before", "lead_created", relanded, landed_at - 9 * HOUR)

    # A second delivery, loaded before the first, tells another time ...
    moved = lead("moved_time")
    order = {"amount": 50}
    inside, outside = as_of_at + 10 * DAY, as_of_at + 15 * DAY
    for at, delivery in ((inside, (first, early)), (outside, (second, late))):
        world.event(*delivery, f"{moved}-order", "order_completed", moved, at, **order)
    for at, delivery in ((landed_at, (first, early)), (as_of_at + HOUR, (second, late))):
        world.event(*delivery, f"{moved}-view", "page_viewed", moved, at)
    world.prediction(0, START + 5 * DAY, moved, as_of_at, score=0.5)

    # ... another person ...
    persons = [lead("moved_person"), f"moved_person:other-{number}"]
    world.event(0, START + 5 * DAY, f"{persons[1]}-c", "lead_created", persons[1], landed_at)
    for person, delivery in zip(persons, ((first, early), (second, late)), strict=True):
        world.prediction(0, START + 5 * DAY, person, as_of_at, score=0.5)
        world.event(*delivery, f"{persons[0]}-o", "order_completed", person, inside, **order)
        world.event(*delivery, f"{persons[0]}-view", "page_viewed", person, landed_at)

    # ... or another type.
    typed = lead("moved_type")
    world.prediction(0, START + 5 * DAY, typed, as_of_at, score=0.5)
    for kind, delivery in (("order_completed", (first, early)), ("page_viewed", (second, late))):
        world.event(*delivery, f"{typed}-order", kind, typed, inside, **order)
    never = f"moved_type:never-{number}"
    for kind, delivery in (("lead_created", (first, early)), ("page_viewed", (second, late))):
        world.event(*delivery, f"{never}-0", kind, never, landed_at)

    # An assignment arrives before the prediction that caused it.
    hasty = lead("early_assignment")
    prediction_id = world.prediction(second, late, hasty, as_of_at, score=0.25)
    at = as_of_at + MINUTE
    world.assignment(first, early, hasty, at, prediction_id=prediction_id)

    # Somebody runs an experiment that the registry does not know.
    world.assignment(second, late, lead("unregistered"), as_of_at)


def make_world() -> World:
    rng = random.Random(20_250_303)
    world = World()
    for number in range(400):
        add_lead(world, rng, f"plain:{number}")
    for name in (f"schedule-{number:02d}" for number in range(N_SCHEDULES)):
        # Of a seed of its own, so that a schedule that fails is the same whatever the others are.
        own_rng = random.Random(name)
        schedule = drawn_schedule(own_rng)
        for number in range(14):
            add_lead(world, own_rng, f"{name}:{number}", schedule)
    for number in range(60):
        add_plain_player(world, rng, number)
    for number in range(120):
        add_plain_subscriber(world, rng, number)
    for number in range(150):
        add_broken_delivery(world, rng, f"plain:broken-{number}", "plain:0", CLOCK[5] - DAY)
    add_plain_answers(world, rng)
    for number in range(3):
        add_awkward(world, number)
    for rows in (world.events, world.predictions, world.assignments):
        for batch in sorted(rows):
            rng.shuffle(rows[batch])
    return world


def registry(as_of: datetime) -> str:
    """The variables of a run: its clock, and what the world's predictions speak of."""
    project = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text())
    tasks = dict(project["vars"]["prediction_tasks"])
    task = {"kind": "binary", "entity": "user", "outcome_event": "order_completed"}
    task |= {"label_rule": "occurs", "horizon_days": 3, "default_threshold": 0.3}
    tasks["stays"] = task | {"label_rule": "absent", "horizon_days": 7}
    tasks["spends"] = task | {"kind": "regression", "label_rule": "sum_amount"}
    del tasks["spends"]["default_threshold"]
    tasks["session_buys"] = task | {"entity": "session"}
    tasks["asked_often"] = task
    names = [
        f"{family}_coupon" for family in FAMILIES if family not in ("schedule", "unregistered")
    ]
    experiments = dict.fromkeys(names, COUPON)
    # Nobody tells of redemptions here, and a guardrail may not fall.
    mail = {key: value for key, value in COUPON.items() if not key.endswith("ed_event")}
    experiments["plain_mail"] = mail | {"guardrails": {"pricing_viewed": "fall"}}
    arms = {"control": {"share": 0.4}, "small": {"share": 0.3}, "large": {"share": 0.3}}
    experiments["plain_visit"] = COUPON | {"task": "session_buys", "entity": "session"}
    experiments["plain_visit"] |= {"eligible": "all", "arms": arms, "covariates": []}
    return yaml.safe_dump(
        {"as_of": str(as_of), "prediction_tasks": tasks, "experiments": experiments}
    )


# Building it -----------------------------------------------------------------------------------


def deliver(settings: Settings, world: World, batch: int) -> None:
    """Insert a batch; a batch's numbers begin at 5,000 and leave room for what was overtaken."""
    numbers = {False: count(10_000 * batch + 5_000), True: count(10_000 * (batch - 1))}
    with warehouse.connect(settings) as connection, connection.transaction():
        if batch == 0:
            # The job keeps what an experiment was when it began.
            connection.execute(
                "insert into scoring.experiments values ('plain_coupon', %s, %s, %s, %s)",
                [COUPON["salt"], json.dumps(COUPON["arms"]), START, START],
            )
        for table, rows in (
            ("tracking.events", world.events),
            ("scoring.predictions", world.predictions),
            ("scoring.assignments", world.assignments),
        ):
            for row in rows.get(batch, []):
                row = {"delivery_id": next(numbers[row["overtaken"]])} | row
                del row["overtaken"]
                values = [json.dumps(v) if isinstance(v, dict | list) else v for v in row.values()]
                connection.execute(
                    f"insert into {table} ({', '.join(row)}) "
                    f"values ({', '.join(['%s'] * len(row))})",
                    values,
                )


def register_models(settings: Settings) -> None:
    """Register the versions that made the predictions, as trainings would."""
    with warehouse.connect(settings) as connection:
        connection.execute(
            """
            insert into scoring.models (
                task, model_version, status, algorithm, parameters, features, trained_at,
                trained_from, trained_through, judged_from, judged_through, n_training_rows,
                n_out_of_time_rows, metrics, reason, artifact, artifact_sha256
            )
            select
                task, version, status, 'none', '{}', '{}', at, at, at + interval '7 days',
                at + interval '7 days', at + interval '14 days', 0, 0,
                '{"log_loss": 0.5, "brier_score": 0.2, "roc_auc": 0.7}', 'for the test', '', ''
            from
                (values
                    ('lead_conversion', 'plain', 'champion'),
                    ('lead_conversion', 'plain-shadow', 'challenger'),
                    ('subscription_churn', 'plain', 'champion'),
                    ('mystery', 'plain', 'champion')
                ) as v (task, version, status),
                cast(%s as timestamptz) as at
            """,
            [START],
        )
        connection.execute(
            """
            insert into scoring.training_trials values
                ('lead_conversion', 'plain', 1, 'none', '{}', -0.5, 0.1, 1);
            insert into scoring.feature_importances values
                ('lead_conversion', 'plain', 'device', 0.1, 0.01, 100),
                ('lead_conversion', 'plain', 'n_events', 0.05, 0.01, 100),
                ('subscription_churn', 'plain', 'tenure_days', 0.1, 0.01, 100);
            insert into scoring.partial_dependence values
                ('lead_conversion', 'plain', 'device', 1, null, 'mobile', 0.5, 100);
            insert into scoring.curves values ('lead_conversion', 'plain', 1, 0.5, 1, 1, 0.5);
            insert into scoring.segments select
                'mystery', 'plain', number, 'segment ' || number, 10
            from generate_series(0, 3) as number;
            insert into scoring.cluster_profiles select
                'mystery', 'plain', number, 1, 'anything', null, 1, 1, 0
            from generate_series(0, 3) as number
            """
        )


def build(settings: Settings, as_of: datetime, *options: str) -> None:
    without_tests = ["--exclude-resource-type", "test", "unit_test"]
    run_dbt(settings, ["build", *without_tests, *options], registry(as_of))


def keep_copy(settings: Settings, name: str) -> None:
    """Put a copy of everything that dbt built aside."""
    with warehouse.connect(settings) as connection:
        connection.execute(f"create schema copy_{name}")
        for relation in relations(settings, DBT_SCHEMAS):
            connection.execute(f"create table {copied(name, relation)} as table {relation}")


def copied(name: str, relation: str) -> str:
    """Return where a relation's copy stands: table names are unique in a dbt project."""
    return f"copy_{name}.{relation.split('.')[1]}"


def family_condition(columns: list[str], family: str) -> str:
    """Return the condition on a relation's rows that belong to a family.

    What names no entity, version or experiment belongs to the plain ones.
    """
    candidates = ("entity_id", "user_id", "model_version", "experiment", "label_name")
    keys = [name for name in candidates if name in columns]
    names = FAMILIES[1:] if family == "plain" else (family,)
    parts = [f"coalesce(starts_with({keys[0]}, '{name}'), false)" for name in names if keys]
    if family == "plain":
        return f"not ({' or '.join(parts)})" if parts else "true"
    return parts[0] if parts else "false"


def only_in_one(
    connection: psycopg.Connection, one: str, other: str, columns: list[str]
) -> list[tuple]:
    """Return the rows that only one of two queries has: `one` or `other`, then the columns."""
    chosen = ", ".join(columns)
    return connection.execute(
        f"with one as (select {chosen} from ({one})), other as (select {chosen} from ({other})) "
        "select 'one', r.* from (table one except all table other) as r union all "
        "select 'other', r.* from (table other except all table one) as r"
    ).fetchall()


def described(rows: list[tuple], columns: list[str]) -> str:
    """Say how many rows differ, in which columns, and show one."""
    n_one = sum(row[0] == "one" for row in rows)
    differing = [
        column
        for place, column in enumerate(columns, start=1)
        if Counter(str(row[place]) for row in rows if row[0] == "one")
        != Counter(str(row[place]) for row in rows if row[0] == "other")
    ]
    example = {column: rows[0][columns.index(column) + 1] for column in columns}
    return (
        f"{n_one} rows only in the one, {len(rows) - n_one} only in the other, which differ in "
        f"{', '.join(differing)}; such as in the {rows[0][0]}: {example}"
    )


def columns_to_compare(connection: psycopg.Connection, relation: str) -> list[str]:
    """All columns count but those which only say when a row was written, or first asked for."""
    description = connection.execute(f"select * from {relation} limit 0").description
    names = [column.name for column in description]
    bookkeeping = {name for name in names if name.endswith("change_number")}
    if relation.endswith(".int_labels"):
        bookkeeping.add("loaded_at")
    return [name for name in names if name not in bookkeeping]


def somebody_asks(relation: str, copy: str) -> str:
    """Return the condition on rows that count: a label that nobody asks for any more may stay."""
    if not relation.endswith(".int_labels"):
        return "true"
    return (
        f"exists (select 1 from copy_{copy}.int_label_requests as asked "
        "where asked.label_name = r.label_name and asked.entity_id = r.entity_id "
        "and asked.as_of_at = r.as_of_at)"
    )


def differences(settings: Settings, one: str, other: str, family: str) -> dict[str, str]:
    """Compare two copies, as far as a family goes: what is to be said of each relation."""
    found = {}
    with warehouse.connect(settings) as connection:
        for relation in relations(settings, DBT_SCHEMAS):
            columns = columns_to_compare(connection, copied(one, relation))
            condition = family_condition(columns, family)
            rows = only_in_one(
                connection,
                *(
                    f"select * from {copied(copy, relation)} as r "
                    f"where {condition} and {somebody_asks(relation, copy)}"
                    for copy in (one, other)
                ),
                columns,
            )
            if rows:
                found[relation] = described(rows, columns)
    return found


def assert_equal(settings: Settings, one: str, other: str, family: str) -> None:
    found = differences(settings, one, other, family)
    lines = [f"{relation}: {description}" for relation, description in found.items()]
    assert not lines, "\n".join([f"{one} and {other}:", *lines])


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def incremental(make_database: Callable[[str], Settings], world: World) -> Settings:
    """A database after six batches and as many runs; copies `past` and `incremental`."""
    settings = make_database("increments")
    register_models(settings)
    for batch in FORWARD:
        deliver(settings, world, batch)
        if batch == KILLED:
            build(settings, CLOCK[batch], "--select", "+int_leads", "int_labels")
        build(settings, CLOCK[batch])
        if batch == PAST:
            keep_copy(settings, "past")
    keep_copy(settings, "incremental")
    return settings


@pytest.fixture(scope="module")
def refreshed(incremental: Settings) -> Settings:
    """The same database, built anew on a server in another time zone; copy `refreshed`."""
    with warehouse.connect(incremental) as connection:
        name = incremental.dbname
        connection.execute(f"alter database {name} set timezone = 'Pacific/Auckland'")
    build(incremental, CLOCK[FORWARD[-1]], "--full-refresh")
    keep_copy(incremental, "refreshed")
    return incremental


@pytest.fixture(scope="module")
def interrupted(refreshed: Settings) -> Settings:
    """The same database after a full refresh that was killed half way; copy `interrupted`."""
    build(refreshed, CLOCK[FORWARD[-1]], "--full-refresh", "--select", "int_events")
    build(refreshed, CLOCK[FORWARD[-1]])
    keep_copy(refreshed, "interrupted")
    return refreshed


@pytest.fixture(scope="module")
def repeated(interrupted: Settings) -> Settings:
    """The same database, built anew for a moment in the past; copy `repeated`."""
    build(interrupted, CLOCK[PAST], "--full-refresh")
    keep_copy(interrupted, "repeated")
    return interrupted


@pytest.fixture(scope="module")
def put_back(repeated: Settings, world: World) -> Settings:
    """The same database after the clock went on, back, and on; copies `put_back`, `put_right`."""
    for batch in range(len(FORWARD), len(CLOCK)):
        deliver(repeated, world, batch)
        build(repeated, CLOCK[batch])
    keep_copy(repeated, "put_back")
    build(repeated, CLOCK[-1], "--full-refresh")
    keep_copy(repeated, "put_right")
    return repeated


# Comparing -------------------------------------------------------------------------------------


def test_world_is_rich_enough(refreshed: Settings) -> None:
    """What the comparison is about does occur."""
    n_reasons = "select count(distinct rejection_reason) from copy_refreshed.int_events_quarantined"
    assert fetch_value(refreshed, n_reasons) >= 6
    n_kept = fetch_value(refreshed, "select count(*) from copy_refreshed.int_events")
    assert fetch_value(refreshed, "select count(*) from tracking.events") > 1.3 * n_kept
    labels = set(
        fetch(
            refreshed,
            "select distinct label_name, label_status, sign(label) from copy_refreshed.int_labels",
        )
    )
    for name in ("lead_conversion", "plain_coupon", "plain_mail", "session_buys", "stays"):
        assert {(name, "mature", 0), (name, "mature", 1), (name, "pending", None)} <= labels
    assert {("spends", "mature", 0), ("spends", "mature", 1)} <= labels
    rules = {rule for (rule,) in fetch(refreshed, "select rule from copy_refreshed.fct_alerts")}
    assert rules == {
        "score_drift",
        "feature_drift",
        "calibration",
        "log_loss",
        "sample_ratio",
        "stale_scoring",
        "volume",
        "quarantine",
    }
    n_schedules = fetch_value(
        refreshed,
        "select count(distinct model_version) from copy_refreshed.fct_classifier_metrics "
        "where starts_with(model_version, 'schedule') and run_kind = 'live'",
    )
    assert n_schedules == N_SCHEDULES
    statuses = "select distinct label_status from copy_refreshed.int_labelled_predictions"
    assert len(fetch(refreshed, statuses)) == 3
    # Offers before and after the assignment, in control too; people with visits in several arms.
    told = fetch(
        refreshed,
        "select bool_or(is_exposed_before), bool_or(n_redeemed > 0), bool_or(n_seen > 0), "
        "bool_or(n_offered > 0 and arm = 'control'), bool_or(guardrail_events is not null), "
        "bool_or(covariates ->> 'n_page_views' is not null) "
        "from copy_refreshed.int_labelled_assignments",
    )
    assert told == [(True,) * 6]
    failed = (
        "select distinct check_name from copy_refreshed.fct_experiment_checks where not is_passed"
    )
    assert {name for (name,) in fetch(refreshed, failed)} >= {
        "sample_ratio",
        "assigned_before_exposure",
        "control_kept_clean",
        "one_arm_a_person",
    }
    for name in relations(refreshed, DBT_SCHEMAS):
        assert fetch(refreshed, f"select 1 from {copied('refreshed', name)} limit 1"), name


@pytest.mark.parametrize("family", FAMILIES)
def test_increments_equal_a_full_refresh(refreshed: Settings, family: str) -> None:
    assert_equal(refreshed, "incremental", "refreshed", family)


def test_run_after_a_killed_full_refresh_counts_nothing_twice(interrupted: Settings) -> None:
    for family in ("plain", "schedule"):
        assert_equal(interrupted, "interrupted", "refreshed", family)


def test_full_refresh_reproduces_a_moment_in_the_past(repeated: Settings) -> None:
    for family in ("plain", "schedule"):
        assert_equal(repeated, "past", "repeated", family)
    assert differences(repeated, "past", "refreshed", "plain")


def test_clock_put_back_does_no_harm(put_back: Settings) -> None:
    for family in ("plain", "schedule"):
        assert_equal(put_back, "put_back", "put_right", family)


# Features know nothing of what comes later -----------------------------------------------------


@pytest.mark.parametrize("cut", ["one moment a person", "one moment for all"])
def test_no_feature_sees_a_later_event(
    simulated: Settings, copy_database: Callable[[Settings, str], Settings], cut: str
) -> None:
    """Changing every event after a feature row's moment changes no feature of that row.

    A person's own moment may lie anywhere; but prices, which are everybody's business, must only
    be changed after a moment that is the same for all.
    """
    settings = copy_database(simulated, "leakage")
    tasks = fetch(
        settings,
        "select task, entity, features_relation from leadlight_shared.dim_prediction_tasks "
        "where features_relation is not null",
    )
    assert tasks
    models = sorted({relation.split(".")[-1].strip('"') for _, _, relation in tasks})
    with warehouse.connect(settings) as connection:
        connection.execute(
            "create temp table moments (user_id text, task text, entity_id text, as_of_at "
            "timestamptz)"
        )
        for task, entity, relation in tasks:
            connection.execute(f"create temp table {task}_before as select * from {relation}")
            connection.execute(
                "insert into moments select distinct events.user_id, %s, features.entity_id, "
                f"features.as_of_at from {relation} as features "
                "join leadlight_intermediate.int_events_sessionized as events "
                f"on features.entity_id = events.{entity}_id",
                [task],
            )
        if cut == "one moment for all":
            connection.execute(
                "create temp table cuts as select distinct user_id, (select percentile_disc(0.5) "
                "within group (order by as_of_at) from moments) as cut_at from tracking.events"
            )
            n_changed = change_what_comes_later(connection, "true")
        else:
            # Where a person has several moments, one of them is drawn.
            connection.execute(
                "create temp table cuts as select distinct on (user_id) user_id, "
                "as_of_at as cut_at from moments order by user_id, md5(cast(moments as text))"
            )
            n_changed = change_what_comes_later(connection, "event_type != 'product_viewed'")
        assert n_changed > 10_000
        run_dbt(settings, ["run", "--full-refresh", "--select", *(f"+{name}" for name in models)])
        for task, _, relation in tasks:
            known = (
                "where (entity_id, as_of_at) in (select entity_id, as_of_at from moments "
                f"join cuts using (user_id) where task = '{task}' and as_of_at <= cut_at)"
            )
            before = f"select * from {task}_before {known}"
            after = f"select * from {relation} {known}"
            columns = columns_to_compare(connection, relation)
            ((n_rows,),) = connection.execute(f"select count(*) from ({before})").fetchall()
            assert n_rows > 100, task
            rows = only_in_one(connection, before, after, columns)
            assert not rows, f"{task}: {described(rows, columns)}"


def change_what_comes_later(connection: psycopg.Connection, which: str) -> int:
    """Change, take away and add events after each person's cut; return how many."""
    n_changed = connection.execute(
        f"""
        update tracking.events set
            properties = properties || jsonb_build_object(
                'utm_medium', 'changed', 'country', 'changed', 'price', 9999
            ),
            amount = coalesce(amount, 0) + 1000,
            event_type = case delivery_id % 4
                when 0 then 'order_completed'
                when 1 then 'page_viewed'
                else event_type
            end
        from cuts
        where events.user_id = cuts.user_id and occurred_at > cut_at and {which}
        """
    ).rowcount
    n_changed += connection.execute(
        "delete from tracking.events using cuts where events.user_id = cuts.user_id "
        f"and occurred_at > cut_at and delivery_id % 5 = 0 and {which}"
    ).rowcount
    # At once, so that a visit goes on; a while later; and much later.
    n_changed += connection.execute(
        """
        insert into tracking.events (event_id, event_type, user_id, occurred_at, amount)
        select concat_ws('-', 'later', user_id, event_type, later), event_type, user_id,
            cut_at + later, 500
        from cuts,
            unnest(array['page_viewed', 'pricing_viewed', 'order_completed', 'lead_created'])
                as event_type,
            unnest(array[interval '1 microsecond', interval '9 minutes', interval '2 days'])
                as later
        """
    ).rowcount
    return n_changed
