"""The lead business: leads land, browse and perhaps order.

An incumbent model has scored them, too high, and whoever it scored below its threshold took part in
a coupon experiment. What really moves a lead is its intent, and the probability of an order with
and without the coupon, which nearly all of the paying arms were sent.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from python_scoring.experiments import assign_arm
from python_scoring.simulation.draws import (
    COUNTRIES,
    DAY,
    DEVICES,
    HOUR,
    MINUTE,
    SECOND,
    draw_by_share,
    draw_moments,
    entity_ids,
    events_frame,
    microseconds,
    position_in_run,
    running_sum,
    sigmoid,
    timestamps,
    whole,
)
from python_scoring.simulation.plan import ExperimentPlan

INCUMBENT = "incumbent"
# The newest leads are left unscored, so that the scheduled job finds work.
INCUMBENT_STOPS_BEFORE_UNTIL = 2 * DAY
# Room around an order: the visit that ends in it begins after the scoring, and the order lies both
# within the horizon of the prediction and within that of the assignment some minutes later. A
# coupon is on its way for less than that.
ORDER_MARGIN = 20 * MINUTE
# Some mail bounces.
SHARE_DELIVERED = 0.97

CHANNELS = pd.DataFrame(
    [
        ("cpc", "google", 0.27, -0.05, 0.0),
        ("cpc", "bing", 0.07, 0.0, 0.1),
        ("organic", "google", 0.24, 0.2, 0.15),
        ("social", "instagram", 0.15, -0.5, -0.3),
        ("social", "linkedin", 0.08, -0.1, 0.0),
        ("email", "newsletter", 0.08, 0.35, 0.3),
        ("referral", "partner", 0.11, 0.45, 0.4),
    ],
    columns=["utm_medium", "utm_source", "share", "intent_effect", "order_effect"],
)
PAGES = [f"/{page}" for page in ("", "about", "blog", "blog/guide", "contact", "faq", "reviews")]
PRODUCTS = {
    "desks": ["desk-basic", "desk-corner", "desk-standing"],
    "chairs": ["chair-basic", "chair-mesh", "chair-executive"],
    "lighting": ["lamp-clip", "lamp-desk", "lamp-floor"],
}
PLANS = ["once", "monthly", "yearly"]
VIEW_PROPERTIES: dict[str, list[str]] = {
    "page_viewed": [json.dumps({"path": path}) for path in PAGES],
    "product_viewed": [
        json.dumps({"path": f"/products/{product}", "product": product, "category": category})
        for category, products in PRODUCTS.items()
        for product in products
    ],
    "pricing_viewed": [json.dumps({"path": "/pricing", "plan": plan}) for plan in PLANS],
    # No event type of the project: what reaches a warehouse is not always known to it.
    "widget_toggled": [json.dumps({"widget": widget}) for widget in ("chat", "filter")],
}


@dataclass(frozen=True)
class LeadBusiness:
    """What the leads did, `events` not yet delivered, and what the incumbent made of it.

    `predictions` and `assignments` have the columns of their tables in `scoring`; `truth` has one
    row per lead. `did_order` says whether the lead orders within the horizon of its scoring, even
    where that still lies ahead, and was drawn from `probability_with_coupon` where `got_coupon`,
    and from `probability_without_coupon` otherwise. The former is with the coupon of the lead's own
    arm, or, where that has none, with the one of the first arm that has.
    """

    events: pd.DataFrame
    predictions: pd.DataFrame
    assignments: pd.DataFrame
    truth: pd.DataFrame


def simulate_leads(
    rng: np.random.Generator,
    n_leads: int,
    n_days: int,
    seed: int,
    until: int,
    *,
    scoring_delay: timedelta,
    horizon: timedelta,
    threshold: float,
    experiment: ExperimentPlan,
) -> LeadBusiness:
    """Simulate `n_leads` leads that land in the `n_days` before `until`.

    Each lead is scored `scoring_delay` after landing, and the order that its probability speaks of
    lies within `horizon` of that moment. Leads scored below `threshold` take part in `experiment`.
    """
    horizon_us = microseconds(horizon)
    # One stream of random numbers for each part, so that another threshold or coupon leaves the
    # leads and their visits as they were.
    lead_rng, score_rng, order_rng, visit_rng, other_rng = rng.spawn(5)
    # Whoever comes anew spawns from the last stream: a sixth one would be another business's.
    coupon_rng, unsubscribe_rng = other_rng.spawn(2)

    leads = _draw_leads(lead_rng, n_leads, n_days, seed, until, microseconds(scoring_delay))
    leads = _score_and_assign(score_rng, leads, until, threshold, experiment)
    leads = _send_coupons(coupon_rng, leads, experiment)
    leads, orders = _draw_orders(order_rng, leads, horizon_us)
    visits = _draw_visits(visit_rng, leads, orders)
    events = pd.concat(
        [
            _lead_created_events(leads),
            _draw_view_events(visit_rng, leads, visits, until),
            _order_events(leads, orders),
            _draw_coupon_events(other_rng, coupon_rng, leads, orders, experiment),
            _draw_newsletter_events(other_rng, leads),
            _draw_unsubscribed_events(unsubscribe_rng, leads),
        ],
        ignore_index=True,
    )
    return LeadBusiness(
        events=events,
        predictions=_predictions_frame(leads, threshold, experiment),
        assignments=_assignments_frame(leads, experiment),
        truth=_truth_frame(leads),
    )


def _draw_leads(
    rng: np.random.Generator,
    n_leads: int,
    n_days: int,
    seed: int,
    until: int,
    scoring_delay: int,
) -> pd.DataFrame:
    """Return one row per lead, in order of landing: who it is, when it is scored, what it wants."""
    channel = draw_by_share(rng, CHANNELS, n_leads)
    device = draw_by_share(rng, DEVICES, n_leads)
    country = draw_by_share(rng, COUNTRIES, n_leads)
    company_size = np.ceil(np.clip(rng.lognormal(3.0, 1.2, n_leads), 1, 5000)).astype(int)
    intent = (
        rng.normal(0.0, 1.0, n_leads)
        + channel["intent_effect"].to_numpy()
        + device["intent_effect"].to_numpy()
    )
    is_mobile_social = (channel["utm_medium"] == "social") & (device["device"] == "mobile")
    landed_at = draw_moments(rng, n_leads, n_days, until)
    as_of_at = landed_at + scoring_delay
    leads = pd.DataFrame(
        {
            "user_id": entity_ids("lead", seed, n_leads),
            "landed_at": landed_at,
            "as_of_at": as_of_at,
            "predicted_at": as_of_at + rng.integers(MINUTE, 10 * MINUTE, n_leads),
            "utm_medium": channel["utm_medium"],
            "utm_source": channel["utm_source"],
            "device": device["device"],
            "country": country["country"],
            "company_size": company_size,
            "newsletter": rng.random(n_leads) < 0.35,
            "intent": intent,
            "logit_without_coupon": (
                -1.6
                + 1.3 * intent
                + channel["order_effect"]
                + 0.2 * (np.log(company_size) - 3.0)
                - 0.4 * is_mobile_social
            ),
        }
    )
    return leads.assign(
        probability_without_coupon=sigmoid(leads["logit_without_coupon"].to_numpy())
    )


def _score_and_assign(
    rng: np.random.Generator,
    leads: pd.DataFrame,
    until: int,
    threshold: float,
    experiment: ExperimentPlan,
) -> pd.DataFrame:
    """Add the incumbent's score, and the arm: None outside the experiment."""
    # The incumbent ranks usefully but is overconfident about everybody: a flat slope, set too high.
    noisy_logit = leads["logit_without_coupon"] + rng.normal(0.0, 1.1, len(leads))
    score = sigmoid(0.55 * noisy_logit.to_numpy() + 0.45)
    is_scored = leads["predicted_at"].to_numpy() <= until - INCUMBENT_STOPS_BEFORE_UNTIL
    is_eligible = is_scored & (score < threshold)

    arm = np.full(len(leads), None, dtype=object)
    names = np.array([arm.arm for arm in experiment.arms], dtype=object)
    entity_ids = leads["user_id"][is_eligible].tolist()
    arm[is_eligible] = names[assign_arm(experiment.salt, entity_ids, experiment.arms)]
    offers = {arm.arm: float(arm.offer_amount) for arm in experiment.arms}
    return leads.assign(
        score=score,
        is_scored=is_scored,
        arm=pd.array(arm, dtype="str"),
        offer_amount=[offers.get(name, 0.0) for name in arm],
    )


def _send_coupons(
    rng: np.random.Generator, leads: pd.DataFrame, experiment: ExperimentPlan
) -> pd.DataFrame:
    """Add whether and when a coupon reached the lead, and the probability of an order with it."""
    is_delivered = rng.random(len(leads)) < SHARE_DELIVERED
    on_its_way = rng.integers(SECOND, ORDER_MARGIN, len(leads))
    first_offer = next(float(arm.offer_amount) for arm in experiment.arms if arm.offer_amount > 0)
    offer = leads["offer_amount"].to_numpy()
    # Small companies care more for a coupon, and a larger coupon helps ever less.
    price_sensitivity = np.where(leads["company_size"] < 20, 0.85, 0.57)
    coupon_effect = price_sensitivity * (np.where(offer > 0, offer, first_offer) / 15) ** 0.25
    return leads.assign(
        got_coupon=(offer > 0) & is_delivered,
        offered_at=leads["predicted_at"] + on_its_way,
        probability_with_coupon=sigmoid(leads["logit_without_coupon"].to_numpy() + coupon_effect),
    )


def _draw_orders(
    rng: np.random.Generator, leads: pd.DataFrame, horizon: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add `did_order` to the leads and return all orders: lead, time, amount, whether the first.

    The order that the probabilities speak of lies in (predicted_at, as_of_at + horizon]. Other
    orders never turn a lead that has none there into one that has: they come before the scoring,
    after the horizon, or after that very order.
    """
    n_leads = len(leads)
    landed_at, as_of_at, predicted_at = (
        leads[column].to_numpy() for column in ("landed_at", "as_of_at", "predicted_at")
    )
    probability = np.where(
        leads["got_coupon"],
        leads["probability_with_coupon"],
        leads["probability_without_coupon"],
    )
    did_order = rng.random(n_leads) < probability
    share_of_horizon = rng.beta(1.0, 1.8, n_leads)
    first_at = predicted_at + ORDER_MARGIN + whole(share_of_horizon * (horizon - 2 * ORDER_MARGIN))
    customers = np.flatnonzero(did_order)

    hasty = np.flatnonzero(rng.random(n_leads) < 0.005)
    hasty_at = as_of_at[hasty] - whole(
        rng.uniform(0.0, 0.5, len(hasty)) * (as_of_at - landed_at)[hasty]
    )
    slow = np.flatnonzero(rng.random(n_leads) < 0.03)
    slow_at = predicted_at[slow] + horizon + HOUR + whole(rng.exponential(15 * DAY, len(slow)))
    returning = np.repeat(customers, rng.poisson(0.5, len(customers)))
    returning_at = first_at[returning] + HOUR + whole(rng.exponential(25 * DAY, len(returning)))

    lead = np.concatenate([customers, hasty, slow, returning])
    amount = np.exp(
        3.95
        + 0.2 * (np.log(leads["company_size"].to_numpy()[lead]) - 3.0)
        + 0.1 * leads["intent"].to_numpy()[lead]
        + rng.normal(0.0, 0.5, len(lead))
    )
    orders = pd.DataFrame(
        {
            "lead": lead,
            "occurred_at": np.concatenate([first_at[customers], hasty_at, slow_at, returning_at]),
            "amount": np.round(np.clip(amount, 10.0, 250.0), 2),
            "is_first": np.arange(len(lead)) < len(customers),
        }
    )
    return leads.assign(did_order=did_order), orders


def _draw_visits(
    rng: np.random.Generator, leads: pd.DataFrame, orders: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per visit: lead and start.

    Every lead visits on landing. How often it comes back within a day tells its intent; later
    visits tell less, and those that end in an order tell what is already known.
    """
    n_leads = len(leads)
    landed_at, intent = leads["landed_at"].to_numpy(), leads["intent"].to_numpy()
    soon = np.repeat(np.arange(n_leads), rng.poisson(np.exp(-0.2 + 0.75 * intent)))
    later = np.repeat(np.arange(n_leads), rng.poisson(np.exp(-0.1 + 0.1 * intent)))
    started_at = [
        landed_at + rng.integers(3 * SECOND, MINUTE, n_leads),
        landed_at[soon] + whole(rng.beta(1.0, 1.5, len(soon)) * DAY),
        landed_at[later] + DAY + whole(rng.exponential(12 * DAY, len(later))),
        orders["occurred_at"].to_numpy() - rng.integers(2 * MINUTE, 15 * MINUTE, len(orders)),
    ]
    return pd.DataFrame(
        {
            "lead": np.concatenate([np.arange(n_leads), soon, later, orders["lead"].to_numpy()]),
            "started_at": np.concatenate(started_at),
        }
    )


def _draw_view_events(
    rng: np.random.Generator, leads: pd.DataFrame, visits: pd.DataFrame, until: int
) -> pd.DataFrame:
    """Return the events within the visits, seconds or minutes apart."""
    visits = visits[visits["started_at"] <= until]
    n_views = 1 + rng.poisson(np.exp(0.6 + 0.45 * leads["intent"].to_numpy()[visits["lead"]]))
    lead = np.repeat(visits["lead"].to_numpy(), n_views)
    intent = leads["intent"].to_numpy()[lead]

    gap = whole(np.minimum(rng.lognormal(3.7, 1.0, len(lead)) * SECOND, 20 * MINUTE))
    gap[position_in_run(n_views) == 0] = 0
    elapsed = running_sum(gap, n_views)

    # A ladder of chances: pricing, else product, else a page; a few are of no known type.
    event_type = np.full(len(lead), "page_viewed", dtype=object)
    event_type[rng.random(len(lead)) < sigmoid(-0.5 + 0.3 * intent)] = "product_viewed"
    event_type[rng.random(len(lead)) < sigmoid(-2.2 + 1.0 * intent)] = "pricing_viewed"
    event_type[rng.random(len(lead)) < 0.0012] = "widget_toggled"
    properties = np.empty(len(lead), dtype=object)
    for name, choices in VIEW_PROPERTIES.items():
        is_type = event_type == name
        properties[is_type] = rng.choice(np.array(choices, dtype=object), is_type.sum())
    return events_frame(
        leads["user_id"].take(lead),
        event_type,
        np.repeat(visits["started_at"].to_numpy(), n_views) + elapsed,
        properties,
    )


def _lead_created_events(leads: pd.DataFrame) -> pd.DataFrame:
    columns = ["utm_medium", "utm_source", "device", "country", "company_size", "newsletter"]
    properties = [
        json.dumps({"email": f"{user_id}@example.com"} | dict(zip(columns, values, strict=True)))
        for user_id, *values in zip(
            leads["user_id"], *(leads[column].tolist() for column in columns), strict=True
        )
    ]
    return events_frame(leads["user_id"], "lead_created", leads["landed_at"].to_numpy(), properties)


def _order_events(leads: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    return events_frame(
        leads["user_id"].take(orders["lead"]),
        "order_completed",
        orders["occurred_at"].to_numpy(),
        json.dumps({"currency": "EUR"}),
        orders["amount"].to_numpy(),
    )


def _draw_coupon_events(
    rng: np.random.Generator,
    coupon_rng: np.random.Generator,
    leads: pd.DataFrame,
    orders: pd.DataFrame,
    experiment: ExperimentPlan,
) -> pd.DataFrame:
    """Return the coupons that arrived, those that were opened, and a redemption of most orders.

    Whoever redeems a coupon has opened it before.
    """
    got_coupon, offered_at = leads["got_coupon"].to_numpy(), leads["offered_at"].to_numpy()
    offered = np.flatnonzero(got_coupon)
    is_redeemed = (
        orders["is_first"].to_numpy()
        & got_coupon[orders["lead"]]
        & (rng.random(len(orders)) < 0.85)
    )
    redeemed = orders[is_redeemed]

    time_to_redeem = np.full(len(leads), np.iinfo(np.int64).max)
    time_to_redeem[redeemed["lead"]] = redeemed["occurred_at"] - offered_at[redeemed["lead"]]
    has_opened = coupon_rng.random(len(leads)) < 0.8
    has_opened[redeemed["lead"]] = True
    time_to_open = MINUTE + whole(coupon_rng.exponential(8 * HOUR, len(leads)))
    seen_at = offered_at + np.minimum(time_to_open, time_to_redeem // 2)
    seen = np.flatnonzero(got_coupon & has_opened)

    properties = json.dumps({"experiment": experiment.experiment})
    offer_amount = leads["offer_amount"].to_numpy()
    return pd.concat(
        [
            events_frame(
                leads["user_id"].take(offered),
                "coupon_offered",
                offered_at[offered],
                properties,
                offer_amount[offered],
            ),
            events_frame(leads["user_id"].take(seen), "coupon_seen", seen_at[seen], properties),
            events_frame(
                leads["user_id"].take(redeemed["lead"]),
                "coupon_redeemed",
                redeemed["occurred_at"].to_numpy(),
                properties,
                offer_amount[redeemed["lead"]],
            ),
        ]
    )


def _draw_newsletter_events(rng: np.random.Generator, leads: pd.DataFrame) -> pd.DataFrame:
    subscribers = np.flatnonzero(leads["newsletter"])
    lead = np.repeat(subscribers, rng.poisson(2.0, len(subscribers)))
    occurred_at = leads["landed_at"].to_numpy()[lead] + rng.integers(DAY, 60 * DAY, len(lead))
    issue = rng.integers(1, 9, len(lead))
    properties = np.array([json.dumps({"issue": number}) for number in range(9)], dtype=object)
    return events_frame(
        leads["user_id"].take(lead), "newsletter_opened", occurred_at, properties[issue]
    )


def _draw_unsubscribed_events(rng: np.random.Generator, leads: pd.DataFrame) -> pd.DataFrame:
    """Return who leaves the newsletter; a coupon neither drives anybody away nor keeps them."""
    leavers = np.flatnonzero(leads["newsletter"] & (rng.random(len(leads)) < 0.12))
    occurred_at = leads["landed_at"].to_numpy()[leavers] + rng.integers(DAY, 30 * DAY, len(leavers))
    return events_frame(
        leads["user_id"].take(leavers), "newsletter_unsubscribed", occurred_at, json.dumps({})
    )


def _predictions_frame(
    leads: pd.DataFrame, threshold: float, experiment: ExperimentPlan
) -> pd.DataFrame:
    scored = leads[leads["is_scored"]]
    slices = ["utm_medium", "device", "country"]
    predicted_at = timestamps(scored["predicted_at"])
    return pd.DataFrame(
        {
            "prediction_id": _prediction_ids(scored, experiment),
            "task": experiment.task,
            "model_version": INCUMBENT,
            "run_kind": "live",
            "entity_id": scored["user_id"].array,
            "as_of_at": timestamps(scored["as_of_at"]),
            "predicted_at": predicted_at,
            "score": scored["score"].to_numpy(),
            "predicted_value": np.full(len(scored), np.nan),
            "segment": pd.array([None] * len(scored), dtype="Int32"),
            "threshold": np.full(len(scored), float(threshold)),
            "attributes": pd.array(
                [
                    json.dumps(dict(zip(slices, values, strict=True)))
                    for values in zip(*(scored[column] for column in slices), strict=True)
                ],
                dtype="str",
            ),
            "loaded_at": predicted_at,
        }
    )


def _assignments_frame(leads: pd.DataFrame, experiment: ExperimentPlan) -> pd.DataFrame:
    assigned = leads[leads["arm"].notna()]
    assigned_at = timestamps(assigned["predicted_at"])
    return pd.DataFrame(
        {
            "experiment": experiment.experiment,
            "entity_id": assigned["user_id"].array,
            "assigned_at": assigned_at,
            "arm": assigned["arm"].array,
            "offer_amount": assigned["offer_amount"].to_numpy(),
            "prediction_id": _prediction_ids(assigned, experiment),
            "loaded_at": assigned_at,
        }
    )


def _prediction_ids(
    leads: pd.DataFrame, experiment: ExperimentPlan
) -> pd.api.extensions.ExtensionArray:
    """Return the same id for the same lead and task, wherever it is asked for."""
    ids = [
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{experiment.task}:{INCUMBENT}:live:{user_id}"))
        for user_id in leads["user_id"]
    ]
    return pd.array(ids, dtype="str")


def _truth_frame(leads: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": leads["user_id"],
            "landed_at": timestamps(leads["landed_at"]),
            "as_of_at": timestamps(leads["as_of_at"]),
            "intent": leads["intent"],
            "probability_without_coupon": leads["probability_without_coupon"],
            "probability_with_coupon": leads["probability_with_coupon"],
            "arm": leads["arm"],
            "got_coupon": leads["got_coupon"],
            "did_order": leads["did_order"],
        }
    )
