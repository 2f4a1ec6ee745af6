"""A made-up experiment in a throwaway Postgres, and what a day adds to it."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg
import yaml

FIRST_DAY = date(2026, 1, 1)
# So many of the newest days are pending.
HORIZON_DAYS = 5
LABELLED = "leadlight_intermediate.int_labelled_assignments"
# Arm, where its share of the draws begins, and its offer in money.
ARMS = (("control", 0.0, 0), ("small", 0.2, 10), ("large", 0.6, 20))


def registry() -> str:
    """Return the dbt variables of one task, sliced by segment, and one experiment of three arms."""
    task = {"kind": "binary", "entity": "user", "outcome_event": "order_completed"}
    task |= {"label_rule": "occurs", "horizon_days": HORIZON_DAYS, "default_threshold": 0.3}
    ends = [*(start for _, start, _ in ARMS[1:]), 1.0]
    arms = {
        arm: {"share": end - start, "offer_amount": offer}
        for (arm, start, offer), end in zip(ARMS, ends, strict=True)
    }
    experiment = {"task": "orders", "entity": "user", "eligible": "score_below_threshold"}
    experiment |= {"salt": "bench", "control_arm": "control", "arms": arms, "margin": 0.4}
    experiment |= {"outcome_event": "order_completed", "horizon_days": HORIZON_DAYS}
    experiment |= {"offered_event": "coupon_offered", "redeemed_event": "coupon_redeemed"}
    experiment |= {"guardrails": {"newsletter_unsubscribed": "rise"}}
    return yaml.safe_dump(
        {
            "prediction_tasks": {"orders": task | {"slices": ["segment"]}},
            "experiments": {"coupons": experiment},
        }
    )


def make_labelled(
    connection: psycopg.Connection, n_days: int, n_a_day: int, n_segments: int
) -> None:
    """Fill `int_labelled_assignments` with the first days, as one build would have."""
    connection.execute(f"truncate {LABELLED}")
    for number in range(n_days):
        _insert(connection, number, n_a_day, n_segments, is_mature=number < n_days - HORIZON_DAYS)
    connection.execute(f"vacuum analyze {LABELLED}")


def add_day(connection: psycopg.Connection, n_days: int, n_a_day: int, n_segments: int) -> None:
    """Do to `int_labelled_assignments` what a dbt run does after one more day.

    A new day of assignments arrives, and the oldest pending day comes of age.
    """
    mature = FIRST_DAY + timedelta(days=n_days - HORIZON_DAYS)
    with connection.transaction():
        connection.execute(f"delete from {LABELLED} where assignment_date = %s", [mature])
        _insert(connection, n_days - HORIZON_DAYS, n_a_day, n_segments, is_mature=True)
        _insert(connection, n_days, n_a_day, n_segments, is_mature=False)
    # As autovacuum would within a minute.
    connection.execute(f"analyze {LABELLED}")


def _insert(
    connection: psycopg.Connection, number: int, n_a_day: int, n_segments: int, *, is_mature: bool
) -> None:
    """Insert the assignments of a day; a digest is as good as a draw, and the same every time."""
    uniform = "((hashint8extended(n, {0}) & 9007199254740991) + 0.5) / 9007199254740992"
    arms = ", ".join(f"('{arm}', {start}, {offer})" for arm, start, offer in ARMS)
    connection.execute(
        f"""
        insert into {LABELLED} (
            assignment_id, delivery_id, entity_id, person_id, experiment, arm, task, label_status,
            guardrail_events, attributes, offer_amount, score, n_outcomes, outcome_amount,
            n_offered, n_seen, n_redeemed, redeemed_amount, is_exposed_before,
            assignment_date, assigned_at, loaded_at, change_number
        )
        with draws as (
            select
                n,
                0.3 * {uniform.format(1)} as score,
                {uniform.format(2)} as arm_draw,
                {uniform.format(3)} as outcome_draw,
                {uniform.format(4)} as money_draw,
                hashint8extended(n, 5) & 1048575 as other_draw
            from generate_series({number * n_a_day}, {(number + 1) * n_a_day - 1}) as n
        ),
        assigned as (
            select
                draws.*,
                arms.arm,
                arms.offer,
                -- Of every hundred with an offer two more order.
                outcome_draw < score + case when arms.offer > 0 then 0.02 else 0 end as converts,
                round(cast(20 + 100 * money_draw * money_draw as numeric), 2) as amount
            from draws
            cross join lateral (
                select arm, offer
                from (values {arms}) as arms (arm, share_from, offer)
                where arms.share_from <= draws.arm_draw
                order by share_from desc
                limit 1
            ) as arms
        )
        select
            md5('coupons-' || n), n, 'user-' || n, 'user-' || n, 'coupons', arm, 'orders',
            '{"mature" if is_mature else "pending"}',
            {
            "case when other_draw % 100 = 0 then jsonb_build_array('newsletter_unsubscribed') end"
            if is_mature
            else "null"
        },
            jsonb_build_object('segment', 'segment-' || other_draw % {n_segments}),
            offer, score,
            {"cast(converts as integer)" if is_mature else "null"},
            {"case when converts then amount else 0 end" if is_mature else "null"},
            {"cast(offer > 0 as integer)" if is_mature else "null"},
            {"0" if is_mature else "null"},
            {"cast(converts and offer > 0 as integer)" if is_mature else "null"},
            {"case when converts then offer else 0 end" if is_mature else "null"},
            false,
            date '{FIRST_DAY}' + {number},
            timestamptz '{FIRST_DAY} 00:00+00' + interval '1 day' * {number}
            + interval '86399 seconds' * money_draw,
            timestamptz '{FIRST_DAY} 00:00+00' + interval '1 day' * {number},
            (select nextval('leadlight.change_numbers'))
        from assigned
        """
    )
