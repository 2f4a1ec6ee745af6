"""The clickstream shop: visitors click through a catalogue, and some visits end with an order.

A visit is scored at its fifth click, or ten minutes after its first one where that comes earlier.
What a visitor wants shows in the clicks up to then: how many there are and how fast, how many of
them are products, from how few categories, at what prices.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

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
    position_in_run,
    running_sum,
    sigmoid,
    timestamps,
    whole,
)

SCORED_AFTER_CLICKS = 5
SCORED_AFTER = 10 * MINUTE
SHARE_WITH_SESSION_ID = 0.8

CATEGORIES = {"shoes": 59.0, "jackets": 89.0, "shirts": 24.0, "bags": 49.0, "hats": 14.0}
# In each category the same ladder, from the plain model to the fine one.
MODELS = {"plain": 1.0, "classic": 1.6, "sport": 2.3, "fine": 3.6}
PRODUCTS = pd.DataFrame(
    [
        (f"{category}-{model}", category, round(price * factor, 2), page)
        for category, price in CATEGORIES.items()
        for page, (model, factor) in enumerate(MODELS.items(), start=1)
    ],
    columns=["product", "category", "price", "page"],
)
PAGES = pd.DataFrame(
    [("/", 1), ("/sale", 1), ("/delivery", 1)]
    + [(f"/{category}?page={page}", page) for category in CATEGORIES for page in (1, 2, 3)],
    columns=["path", "page"],
)


def simulate_shop(
    rng: np.random.Generator, n_visitors: int, n_days: int, seed: int, until: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate visitors who first come in the `n_days` before `until`; return events and truth.

    The truth has one row per visit: `did_order` says whether an order follows the scoring moment
    `as_of_at` in the same visit and was drawn from `probability`; `revenue` is its amount, or 0.
    """
    visitors = _draw_visitors(rng, n_visitors, n_days, seed, until)
    visits = _draw_visits(rng, visitors, seed, until)
    clicks, visits = _draw_early_clicks(rng, visits)
    clicks = pd.concat([clicks, _draw_late_clicks(rng, visits)], ignore_index=True)
    clicks = _draw_contents(rng, clicks, visits)
    orders = _draw_orders(rng, clicks, visits)
    revenue = np.zeros(len(visits))
    revenue[orders["visit"]] = orders["amount"]
    truth = pd.DataFrame(
        {
            "user_id": visits["user_id"],
            "session_id": visits["session_id"],
            "started_at": timestamps(visits["started_at"]),
            "as_of_at": timestamps(visits["as_of_at"]),
            "intent": visits["intent"],
            "probability": visits["probability"],
            "did_order": visits["did_order"],
            "revenue": revenue,
        }
    )
    return pd.concat([_click_events(clicks, visits), _order_events(orders, visits)]), truth


def _draw_visitors(
    rng: np.random.Generator, n_visitors: int, n_days: int, seed: int, until: int
) -> pd.DataFrame:
    """Return one row per visitor: who it is, how interested, and how dear it likes things."""
    device = draw_by_share(rng, DEVICES, n_visitors)
    return pd.DataFrame(
        {
            "user_id": entity_ids("visitor", seed, n_visitors),
            "first_at": draw_moments(rng, n_visitors, n_days, until),
            "device": device["device"],
            "country": draw_by_share(rng, COUNTRIES, n_visitors)["country"],
            "interest": rng.normal(0.0, 0.6, n_visitors) + device["intent_effect"],
            "price_taste": rng.normal(0.0, 1.0, n_visitors),
            "favourite": rng.integers(0, len(CATEGORIES), n_visitors),
        }
    )


def _draw_visits(
    rng: np.random.Generator, visitors: pd.DataFrame, seed: int, until: int
) -> pd.DataFrame:
    """Return one row per visit that begins by `until`: its visitor, start and intent."""
    n_visits = rng.choice([1, 2, 3], len(visitors), p=[0.5, 0.3, 0.2])
    # No visit lasts so long that the next one could begin in it.
    wait = 6 * HOUR + whole(rng.exponential(6 * DAY, n_visits.sum()))
    wait[position_in_run(n_visits) == 0] = 0
    visits = visitors.take(np.repeat(np.arange(len(visitors)), n_visits)).reset_index(drop=True)
    visits["started_at"] = visits["first_at"] + running_sum(wait, n_visits)
    session_id = entity_ids("session", seed, len(visits))
    visits["session_id"] = session_id.where(rng.random(len(visits)) < SHARE_WITH_SESSION_ID)
    visits["intent"] = visits["interest"] + rng.normal(0.0, 0.8, len(visits))
    visits["probability"] = sigmoid(
        -3.1 + 1.45 * visits["intent"].to_numpy() - 0.3 * visits["price_taste"].to_numpy()
    )
    visits["did_order"] = rng.random(len(visits)) < visits["probability"]
    return visits[visits["started_at"] <= until].reset_index(drop=True)


def _draw_early_clicks(
    rng: np.random.Generator, visits: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the clicks up to the scoring moment, which intent alone moves, and add `as_of_at`."""
    intent = visits["intent"].to_numpy()
    n_clicks = 1 + rng.binomial(SCORED_AFTER_CLICKS - 1, sigmoid(0.5 + 1.1 * intent))
    visit = np.repeat(np.arange(len(visits)), n_clicks)
    gap = _draw_gaps(rng, intent[visit])
    gap[position_in_run(n_clicks) == 0] = 0
    elapsed = running_sum(gap, n_clicks)
    is_early = elapsed <= SCORED_AFTER
    visit, elapsed = visit[is_early], elapsed[is_early]

    scored_after = np.full(len(visits), SCORED_AFTER)
    is_full = np.bincount(visit, minlength=len(visits)) == SCORED_AFTER_CLICKS
    last_click = np.zeros(len(visits), dtype=np.int64)
    np.maximum.at(last_click, visit, elapsed)
    scored_after[is_full] = last_click[is_full]
    started_at = visits["started_at"].to_numpy()
    clicks = pd.DataFrame({"visit": visit, "occurred_at": started_at[visit] + elapsed})
    return clicks, visits.assign(as_of_at=started_at + scored_after, is_full=is_full)


def _draw_late_clicks(rng: np.random.Generator, visits: pd.DataFrame) -> pd.DataFrame:
    """Return the clicks after the scoring moment: most who left early stay away, buyers go on."""
    did_order = visits["did_order"].to_numpy()
    intent = visits["intent"].to_numpy()
    stays = visits["is_full"] | (rng.random(len(visits)) < 0.1)
    n_clicks = np.where(stays, rng.poisson(np.exp(0.7 + 0.3 * np.minimum(intent, 2.0))), 0)
    n_clicks[did_order] = 1 + rng.poisson(3.0, did_order.sum())
    visit = np.repeat(np.arange(len(visits)), n_clicks)
    elapsed = running_sum(_draw_gaps(rng, intent[visit]), n_clicks)
    return pd.DataFrame(
        {"visit": visit, "occurred_at": visits["as_of_at"].to_numpy()[visit] + elapsed}
    )


def _draw_gaps(rng: np.random.Generator, intent: np.ndarray) -> np.ndarray:
    """Return times between clicks, shorter for those who know what they want."""
    seconds = rng.lognormal(4.0 - 0.25 * intent, 0.9)
    return whole(np.clip(seconds * SECOND, SECOND, 8 * MINUTE))


def _draw_contents(
    rng: np.random.Generator, clicks: pd.DataFrame, visits: pd.DataFrame
) -> pd.DataFrame:
    """Add what each click opened: a product, or (product -1) a page."""
    clicks = clicks.sort_values(["visit", "occurred_at"], kind="stable", ignore_index=True)
    visit = clicks["visit"].to_numpy()
    intent, taste, favourite = (
        visits[column].to_numpy()[visit] for column in ("intent", "price_taste", "favourite")
    )
    is_product = rng.random(len(clicks)) < sigmoid(-0.1 + 1.0 * intent)
    # A buyer has bought something it saw: its last click is on a product.
    is_last = np.append(visit[1:] != visit[:-1], True)
    is_product |= is_last & visits["did_order"].to_numpy()[visit]
    strays = rng.random(len(clicks)) < sigmoid(-0.4 - 0.9 * intent)
    category = np.where(strays, rng.integers(0, len(CATEGORIES), len(clicks)), favourite)
    model = np.rint(1.5 + 0.9 * taste + rng.normal(0.0, 0.7, len(clicks)))
    product = category * len(MODELS) + np.clip(model, 0, len(MODELS) - 1).astype(int)
    return clicks.assign(
        product=np.where(is_product, product, -1), page=rng.integers(0, len(PAGES), len(clicks))
    )


def _draw_orders(
    rng: np.random.Generator, clicks: pd.DataFrame, visits: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per order, minutes after the last click: the products seen last, up to 3."""
    seen = clicks[(clicks["product"] >= 0) & visits["did_order"].to_numpy()[clicks["visit"]]]
    n_items = 1 + rng.binomial(2, 0.35, len(visits))
    n_seen_later = seen.groupby("visit").cumcount(ascending=False)
    basket = seen[n_seen_later < n_items[seen["visit"]]]
    orders = (
        basket.assign(price=PRODUCTS["price"].to_numpy()[basket["product"]])
        .groupby("visit", as_index=False)
        .agg(amount=("price", "sum"), n_items=("price", "size"), occurred_at=("occurred_at", "max"))
    )
    orders["occurred_at"] += rng.integers(20 * SECOND, 5 * MINUTE, len(orders))
    return orders.assign(amount=orders["amount"].round(2))


def _click_events(clicks: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    visit = clicks["visit"].to_numpy()
    device, devices = pd.factorize(visits["device"])
    country, countries = pd.factorize(visits["country"])
    contents = [
        *(
            {"path": f"/products/{product['product']}"} | product
            for product in PRODUCTS.to_dict("records")
        ),
        *PAGES.to_dict("records"),
    ]
    # Everything a click can say is written once: contents x devices x countries.
    choices = np.array(
        [
            json.dumps(content | {"device": device_name, "country": country_name})
            for content in contents
            for device_name in devices
            for country_name in countries
        ],
        dtype=object,
    )
    product = clicks["product"].to_numpy()
    content = np.where(product >= 0, product, len(PRODUCTS) + clicks["page"].to_numpy())
    choice = (content * len(devices) + device[visit]) * len(countries) + country[visit]
    return events_frame(
        visits["user_id"].take(visit),
        np.where(product >= 0, "product_viewed", "page_viewed"),
        clicks["occurred_at"].to_numpy(),
        choices[choice],
        session_id=visits["session_id"].take(visit),
    )


def _order_events(orders: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    visit = orders["visit"].to_numpy()
    properties = [
        json.dumps({"currency": "EUR", "n_items": n_items}) for n_items in orders["n_items"]
    ]
    return events_frame(
        visits["user_id"].take(visit),
        "order_completed",
        orders["occurred_at"].to_numpy(),
        properties,
        orders["amount"].to_numpy(),
        session_id=visits["session_id"].take(visit),
    )
