"""The customers: they order again and again, each at a rate of its own, until one day they do not.

Orders come as in the BG/NBD model (Fader, Hardie and Lee, 2005): while a customer is one, its
orders are a Poisson process whose rate is drawn from a gamma distribution, and after each order it
leaves for good with a probability drawn from a beta distribution. Four personas differ in these, in
what they spend and in how much of it coupons take off.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from python_scoring.simulation.draws import (
    DAY,
    draw_by_share,
    entity_ids,
    events_frame,
    timestamps,
    whole,
)

HORIZON = 90 * DAY
# Customers may be this much older than the simulated days, so that whole horizons lie behind.
OLDER_CUSTOMER_DAYS = 270

PERSONAS = pd.DataFrame(
    [
        ("regular", 0.25, 11.0, 0.02, 60.0, 0.08),
        ("big_spender", 0.2, 42.0, 0.06, 260.0, 0.03),
        ("bargain_hunter", 0.25, 38.0, 0.08, 40.0, 0.9),
        ("one_timer", 0.3, 90.0, 0.85, 40.0, 0.05),
    ],
    columns=["persona", "share", "days_between", "leaving", "price", "coupon_share"],
)


def simulate_customers(
    rng: np.random.Generator, n_customers: int, n_days: int, seed: int, until: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate customers who began in the `n_days` + 270 days before `until`.

    Return events and truth. The truth has one row per customer and first of a month, `as_of_at`,
    before which it has ordered: `did_churn` says that no order follows in the 90 days after, even
    where they still lie ahead; `probability` follows from the customer's own rate, its chance to
    leave and its orders up to then.
    """
    customers = _draw_customers(rng, n_customers, n_days, seed, until)
    orders = _draw_orders(rng, customers, until + HORIZON)
    since = until - (n_days + OLDER_CUSTOMER_DAYS) * DAY
    return _order_events(customers, orders), _truth_frame(customers, orders, since, until)


def _draw_customers(
    rng: np.random.Generator, n_customers: int, n_days: int, seed: int, until: int
) -> pd.DataFrame:
    """Return one row per customer: its first order, and what it is like."""
    persona = draw_by_share(rng, PERSONAS, n_customers)
    # The business has won more of its customers early than late.
    days_ago = (n_days + OLDER_CUSTOMER_DAYS) * rng.beta(2.0, 1.0, n_customers)
    leaving, coupon_share = persona["leaving"].to_numpy(), persona["coupon_share"].to_numpy()
    return pd.DataFrame(
        {
            "user_id": entity_ids("customer", seed, n_customers),
            "persona": persona["persona"],
            "first_at": np.sort(until - whole(days_ago * DAY)),
            "orders_per_day": rng.gamma(5.0, 0.2, n_customers) / persona["days_between"],
            "leaving": rng.beta(20.0 * leaving, 20.0 * (1.0 - leaving)),
            "price": persona["price"] * np.exp(rng.normal(0.0, 0.25, n_customers)),
            "coupon_share": rng.beta(15.0 * coupon_share, 15.0 * (1.0 - coupon_share)),
        }
    )


def _draw_orders(rng: np.random.Generator, customers: pd.DataFrame, end: int) -> pd.DataFrame:
    """Return all orders up to `end`, by customer and time: what is paid, and what a coupon took."""
    mean_wait = DAY / customers["orders_per_day"].to_numpy()
    leaving = customers["leaving"].to_numpy()
    customer, ordered_at = np.arange(len(customers)), customers["first_at"].to_numpy()
    rounds = []
    while len(customer):
        rounds.append(pd.DataFrame({"customer": customer, "occurred_at": ordered_at}))
        stays = rng.random(len(customer)) >= leaving[customer]
        customer, ordered_at = customer[stays], ordered_at[stays]
        ordered_at = ordered_at + whole(rng.exponential(mean_wait[customer])) + 1
        customer, ordered_at = customer[ordered_at <= end], ordered_at[ordered_at <= end]
    orders = pd.concat(rounds).sort_values(["customer", "occurred_at"], ignore_index=True)

    customer = orders["customer"].to_numpy()
    price = customers["price"].to_numpy()[customer] * np.exp(rng.normal(0.0, 0.35, len(orders)))
    has_coupon = rng.random(len(orders)) < customers["coupon_share"].to_numpy()[customer]
    discount = np.where(has_coupon, rng.uniform(0.2, 0.4, len(orders)), 0.0)
    return orders.assign(
        amount=np.round(price * (1.0 - discount), 2), coupon=np.round(price * discount, 2)
    )


def _order_events(customers: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    with_coupon = orders[orders["coupon"] > 0]
    return pd.concat(
        [
            events_frame(
                customers["user_id"].take(frame["customer"]),
                event_type,
                frame["occurred_at"].to_numpy(),
                json.dumps({"currency": "EUR"}),
                frame[column].to_numpy(),
            )
            for event_type, frame, column in (
                ("order_completed", orders, "amount"),
                ("coupon_redeemed", with_coupon, "coupon"),
            )
        ]
    )


def _truth_frame(
    customers: pd.DataFrame, orders: pd.DataFrame, since: int, until: int
) -> pd.DataFrame:
    months = pd.date_range(*timestamps([since, until]), freq="MS", normalize=True)
    as_of_at = months.as_unit("us").asi8
    grid = pd.DataFrame(
        {
            "as_of_at": np.repeat(as_of_at, len(customers)),
            "customer": np.tile(np.arange(len(customers)), len(as_of_at)),
        }
    )
    orders = orders[["customer", "occurred_at"]].sort_values("occurred_at")
    keys = {"left_on": "as_of_at", "right_on": "occurred_at", "by": "customer"}
    last = pd.merge_asof(grid, orders, **keys)
    following = pd.merge_asof(grid, orders, **keys, direction="forward", allow_exact_matches=False)
    # Without a last order one is no customer yet; without a next one it has churned.
    is_customer = last["occurred_at"].notna()
    grid, last_at = grid[is_customer], last["occurred_at"][is_customer].to_numpy()
    customer = customers.take(grid["customer"]).reset_index(drop=True)
    silence = (grid["as_of_at"].to_numpy() - last_at) / DAY
    return pd.DataFrame(
        {
            "user_id": customer["user_id"],
            "as_of_at": timestamps(grid["as_of_at"]),
            "persona": customer["persona"],
            "orders_per_day": customer["orders_per_day"],
            "chance_to_leave": customer["leaving"],
            "probability": _churn_probability(
                customer["orders_per_day"].to_numpy(), customer["leaving"].to_numpy(), silence
            ),
            "did_churn": ~(
                following["occurred_at"][is_customer] - grid["as_of_at"] <= HORIZON
            ).to_numpy(),
        }
    )


def _churn_probability(
    orders_per_day: np.ndarray, leaving: np.ndarray, silence: np.ndarray
) -> np.ndarray:
    """Return the probability of no order within the horizon after `silence` days without one.

    Whoever is silent left after the last order, or stayed and has not ordered since; whoever stayed
    may still not order within the horizon.
    """
    stayed = (1.0 - leaving) * np.exp(-orders_per_day * silence)
    is_customer = stayed / (leaving + stayed)
    return 1.0 - is_customer * (1.0 - np.exp(-orders_per_day * HORIZON / DAY))
