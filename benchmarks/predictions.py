"""A made-up history of predictions in a throwaway Postgres, and what a day adds to it."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg
import yaml

FIRST_DAY = date(2026, 1, 1)
# So many of the newest days are pending: the horizon of both tasks.
HORIZON_DAYS = 5
LABELLED = "leadlight_intermediate.int_labelled_predictions"

# Task, and the mean and spread of the log odds: 32 % and 3 % positives. Scores are calibrated.
TASKS = {"common": (-0.95, 1.1), "rare": (-4.1, 1.1)}


def registry() -> str:
    """Return the dbt variables of the two tasks, which are sliced by segment."""
    task = {"kind": "binary", "entity": "user", "outcome_event": "order_completed"}
    task |= {"label_rule": "occurs", "horizon_days": HORIZON_DAYS, "default_threshold": 0.3}
    task |= {"slices": ["segment"]}
    return yaml.safe_dump({"prediction_tasks": dict.fromkeys(TASKS, task), "experiments": {}})


def make_raw(connection: psycopg.Connection, n_days: int, n_a_day: int, n_segments: int) -> None:
    """Fill `scoring.predictions`, whose size the statistics are held against.

    Without its indexes: filling them takes longer than all that is measured, and the table alone is
    the harder measure.
    """
    connection.execute("truncate scoring.predictions")
    constraints = connection.execute(
        "select conname from pg_constraint where conrelid = 'scoring.predictions'::regclass "
        "and contype in ('p', 'u')"
    ).fetchall()
    for (name,) in constraints:
        connection.execute(f"alter table scoring.predictions drop constraint {name}")
    connection.execute("drop index if exists scoring.predictions_loaded_at")
    for number in range(n_days):
        connection.execute(
            f"""
            insert into scoring.predictions (
                task, model_version, run_kind, entity_id, as_of_at, predicted_at, score, threshold,
                attributes, loaded_at
            )
            {drawn(number, n_a_day, n_segments)}
            select
                task, 'v1', 'live', entity_id, as_of_at, as_of_at, score, 0.3, attributes, as_of_at
            from drawn
            """
        )


def make_labelled(connection: psycopg.Connection, n_days: int) -> None:
    """Fill `int_labelled_predictions` with the first days, as one build would have.

    The indexes stand, the newest days are pending, and all rows have one change number.
    """
    connection.execute(f"truncate {LABELLED}")
    connection.execute(
        f"""
        insert into {LABELLED} ({COLUMNS})
        select {COLUMNS}
        from (
            {labelled("as_of_at < %(pending)s")}
        ) as labelled
        where prediction_date < %(end)s
        order by as_of_at
        """,
        {
            "pending": FIRST_DAY + timedelta(days=n_days - HORIZON_DAYS),
            "end": FIRST_DAY + timedelta(days=n_days),
        },
    )
    connection.execute(f"vacuum analyze {LABELLED}")


def add_day(connection: psycopg.Connection, n_days: int, late_days: int) -> int:
    """Do to `int_labelled_predictions` what a dbt run does after one more day; return the late.

    A new day of predictions arrives, and as many labels come as a day has predictions: those of the
    oldest pending day, or, where `late_days` is more than 1, drawn from so many days.
    """
    new = FIRST_DAY + timedelta(days=n_days)
    last_late = new - timedelta(days=HORIZON_DAYS)
    with connection.transaction():
        connection.execute(
            f"""
            insert into {LABELLED} ({COLUMNS})
            select {COLUMNS}
            from ({labelled("false")}) as labelled
            where prediction_date = %(new)s
            """,
            {"new": new},
        )
        connection.execute(
            f"""
            create temp table late on commit drop as
            select {COLUMNS}
            from ({labelled("true")}) as labelled
            where
                prediction_date > %(before)s and prediction_date <= %(last)s
                and delivery_id %% %(late_days)s = 0
            """,
            {
                "before": last_late - timedelta(days=late_days),
                "last": last_late,
                "late_days": late_days,
            },
        )
        connection.execute(
            f"delete from {LABELLED} where prediction_id in (select prediction_id from late)"
        )
        n_late = connection.execute(
            f"insert into {LABELLED} ({COLUMNS}) select {COLUMNS} from late"
        ).rowcount
    # As autovacuum would within a minute.
    connection.execute(f"analyze {LABELLED}")
    return n_late


COLUMNS = (
    "prediction_id, delivery_id, entity_id, task, model_version, run_kind, attributes, arm, "
    "label_status, score, predicted_value, segment, threshold, label, prediction_date, as_of_at, "
    "predicted_at, horizon_ends_at, loaded_at, change_number"
)


def drawn(number: int, n_a_day: int, n_segments: int) -> str:
    """Return a CTE `drawn` with the predictions of a day, half of them of either task.

    Two normal numbers come of two uniform ones (Box and Muller); a digest is as good as a draw, and
    the same every time.
    """
    uniform = "((hashint8extended({0}, {1}) & 9007199254740991) + 0.5) / 9007199254740992"
    tasks = ", ".join(
        f"({k}, '{name}', {m}, {s})" for k, (name, (m, s)) in enumerate(TASKS.items())
    )
    return f"""
        with draws as (
            select
                n,
                {uniform.format("n", 1)} as one,
                {uniform.format("n", 2)} as other,
                hashint8extended(n, 3) & 1048575 as third
            from generate_series({number * n_a_day}, {(number + 1) * n_a_day - 1}) as n
        ),
        drawn as (
            select
                tasks.task,
                'user-' || draws.n as entity_id,
                timestamptz '{FIRST_DAY} 00:00+00'
                + interval '1 day' * {number} + interval '86399 seconds' * draws.other as as_of_at,
                1 / (1 + exp(-(tasks.mean + tasks.spread * sqrt(-2 * ln(draws.one))
                    * cos(2 * pi() * draws.other)))) as score,
                jsonb_build_object('segment', 'segment-' || draws.third % {n_segments})
                    as attributes
            from draws
            join (values {tasks}) as tasks (number, task, mean, spread)
                on draws.n % {len(TASKS)} = tasks.number
        )
    """


def labelled(is_mature: str) -> str:
    """Return a query of all predictions with a label drawn from the score, where that is mature."""
    label = "cast(hashint8extended(delivery_id, 4) & 1048575 < score * 1048576 as integer)"
    return f"""
        select
            prediction_id, delivery_id, entity_id, task, model_version, run_kind, attributes,
            cast(null as text) as arm,
            case when {is_mature} then 'mature' else 'pending' end as label_status,
            score, predicted_value, segment, threshold,
            case when {is_mature} then {label} end as label,
            cast(as_of_at at time zone 'UTC' as date) as prediction_date,
            as_of_at, predicted_at,
            as_of_at + interval '{HORIZON_DAYS} days' as horizon_ends_at,
            loaded_at,
            (select nextval('leadlight.change_numbers')) as change_number
        from scoring.predictions
    """
