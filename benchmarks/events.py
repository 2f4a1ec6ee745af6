"""Events of hundreds of thousands of users: landed, cleaned, made into all tasks' features."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from benchmarks import measuring
from benchmarks.server import Server
from python_scoring.loading import load_file

FIRST_DAY = date(2026, 1, 1)
# What stands before the models are asked: clean events and features, then labels to train on.
SELECTION = ("--selector", "pre")
FEATURES = ("--select", "path:models/intermediate/events", "+path:models/marts/features")
LABELS = ("--select", "+int_labels", "--exclude", *FEATURES[1:])
# Every hundredth delivery comes up to two days late, every two hundredth comes twice.
LATE_DAYS = 2


def measure(
    server: Server, n_events: int, n_users: int, n_days: int, repeats: int
) -> dict[str, Any]:
    """Load the history, build it several times, then load and build as many days more."""
    _make(server, n_events, n_users, n_days + repeats)
    history = _load(server, None, n_days)
    full = [_from_nothing(server, n_days) for _ in range(repeats)]
    days = [_one_more_day(server, n_days + day) for day in range(repeats)]
    return {
        "users": n_users,
        "days": n_days,
        "repeats": repeats,
        "history": history,
        **{part: measuring.middle([build[part] for build in full]) for part in full[0]},
        "elapsed": {part: [build[part]["elapsed"] for build in full] for part in full[0]},
        "one_more_day": measuring.middle(days),
    }


def lines(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the README's table says of it: measure, result."""
    history, day = results["history"], results["one_more_day"]
    parts = [results["features"], results["labels"]]
    models = {name: seconds for part in parts for name, seconds in part["models"].items()}
    slowest = sorted(models.items(), key=lambda item: -item[1])[:4]
    features, labels = (
        f"{part['elapsed']:.0f} s ({min(elapsed):.0f} to {max(elapsed):.0f})"
        for part, elapsed in zip(parts, results["elapsed"].values(), strict=True)
    )
    return [
        (
            f"{history['deliveries']:,} events of {results['users']:,} users, from one file: "
            "`leadlight load`",
            f"{history['load_seconds']:.0f} s",
        ),
        ("clean events and features of all tasks, from nothing", features),
        ("labels of all features, from nothing", labels),
        (
            "most of both, SQL",
            ", ".join(f"`{name}` {seconds:.0f} s" for name, seconds in slowest),
        ),
        (
            f"one more day, {day['deliveries']:,.0f} events: `leadlight load`, SQL",
            f"{day['load_seconds']:.1f} s, {day['sql']:.1f} s",
        ),
        (
            "peak memory of server and dbt",
            ", ".join(
                measuring.mib(max((part[name] for part in parts), key=lambda size: size or 0))
                for name in ("server_mib", "client_mib")
            ),
        ),
    ]


def _clock(n_days: int) -> str:
    return yaml.safe_dump({"as_of": f"{FIRST_DAY + timedelta(days=n_days)} 00:00:00+00"})


def _make(server: Server, n_events: int, n_users: int, n_days: int) -> None:
    """Make all deliveries of all days in a table of their own.

    Six of ten users shop, two play, two subscribe. Each begins on a day of its own, the first of
    them a month before the first day, and comes back ever more rarely: five visits of up to six
    events, of which the last lies up to two months after the first. One in twelve events
    comes later than the days.
    """
    per_user = n_events // n_users
    # In [0, 1), of a user and a number; a digest is as good as a draw, and the same every time.
    uniform = "((hashint8extended({0}, {1}) & 1048575) / 1048576.0)"
    server.connection.execute(
        f"""
        create unlogged table made_deliveries as
        with steps as (
            select
                users.number,
                step,
                step / 6 as visit,
                timestamptz '{FIRST_DAY} 00:00+00'
                + interval '1 day' * ({uniform.format("users.number", 1)} * ({n_days} + 30) - 30)
                + interval '1 day' * power(step / 6, 3) * {uniform.format("users.number", "step/6")}
                + interval '100 seconds' * (step % 6 + {uniform.format("users.number", "step")})
                    as occurred_at,
                hashint8extended(users.number, 1000 + step) & 1048575 as draw
            from generate_series(1, {n_users}) as users (number)
            cross join generate_series(0, {per_user - 1}) as step
        ),
        typed as (
            select
                *,
                case
                    when number % 10 < 6 and step = 0 then 'lead_created'
                    when number % 10 < 6 and step % 6 = 5 and draw % 4 = 0 then 'order_completed'
                    when number % 10 < 6 and step % 6 in (1, 3) then 'product_viewed'
                    when number % 10 < 6 and step % 6 = 2 then 'pricing_viewed'
                    when number % 10 < 6 then 'page_viewed'
                    when number % 10 < 8 and step = 0 then 'new_registration'
                    when number % 10 < 8
                        then (array['new_purchase', 'new_bet', 'new_win'])[1 + draw % 3]
                    when step = 0 then 'subscription_started'
                    when step = {per_user - 1} and draw % 3 = 0 then 'subscription_cancelled'
                    when step % 12 = 11 then 'invoice_paid'
                    else
                        (array['signed_in', 'editor_opened', 'limit_reached'])[1 + draw % 3]
                end as event_type
            from steps
        ),
        told as (
            select
                cast(cast(md5(number || '-' || step) as uuid) as text) as event_id,
                event_type,
                'user-' || number as user_id,
                case when number % 10 < 6 then 'visit-' || number || '-' || visit end as session_id,
                occurred_at,
                case
                    when event_type in ('order_completed', 'new_purchase', 'new_bet', 'new_win')
                        then cast(5 + draw % 20000 / 100.0 as numeric(10, 2))
                    when event_type = 'invoice_paid' then 29
                end as amount,
                case event_type
                    when 'product_viewed' then jsonb_build_object(
                        'category', 'category-' || draw % 12, 'price', 5 + draw % 200,
                        'device', (array['mobile', 'desktop'])[1 + draw % 2], 'country', 'DE'
                    )
                    when 'new_registration' then jsonb_build_object(
                        'date_of_birth', '1980-05-17', 'country', 'AT', 'postcode', '1300',
                        'campaign', 'campaign-' || draw % 5
                    )
                    when 'subscription_started'
                        then jsonb_build_object('plan', 'team', 'monthly_price', 29)
                    else jsonb_build_object(
                        'path', '/' || draw % 40, 'utm_medium', 'cpc',
                        'device', (array['mobile', 'desktop'])[1 + draw % 2]
                    )
                end as properties,
                occurred_at + interval '1 second' * (draw % 300)
                + case when draw % 100 = 7 then interval '{LATE_DAYS} days' else interval '0' end
                    as loaded_at,
                draw
            from typed
        )
        select
            event_id, event_type, user_id, session_id, occurred_at, amount, properties,
            loaded_at + interval '1 hour' * copy as loaded_at
        from told
        -- Some are delivered twice.
        cross join lateral
            generate_series(0, case when told.draw % 200 = 3 then 1 else 0 end) as copy
        """
    )
    server.connection.execute("create index on made_deliveries (loaded_at)")


COLUMNS = "event_id, event_type, user_id, session_id, occurred_at, amount, properties, loaded_at"


def _load(server: Server, since_day: int | None, until_day: int) -> dict[str, Any]:
    """Write the deliveries of some days into a file, in the order they came, and load it."""
    since, until = (
        "-infinity" if day is None else FIRST_DAY + timedelta(days=day)
        for day in (since_day, until_day)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"until-day-{until_day}.csv"
        with path.open("wb") as file, server.connection.cursor() as cursor:
            query = (
                f"copy (select {COLUMNS} from made_deliveries where loaded_at >= '{since}' "
                f"and loaded_at < '{until}' order by loaded_at) to stdout (format csv, header)"
            )
            with cursor.copy(query) as copy:
                for piece in copy:
                    file.write(piece)
        seconds = measuring.seconds(lambda: load_file(server.connection, "events", path))
    ((n_loaded,),) = server.connection.execute(
        "select n_rows from tracking.loads order by load_id desc limit 1"
    ).fetchall()
    return {"load_seconds": seconds, "deliveries": n_loaded}


def _from_nothing(server: Server, n_days: int) -> dict[str, Any]:
    """Build all there is to learn from: first what is learned from, then what is to be learned."""
    selections = {"features": FEATURES, "labels": LABELS}
    return {
        part: server.build(_clock(n_days), *selection, "--full-refresh")
        for part, selection in selections.items()
    }


def _one_more_day(server: Server, day: int) -> dict[str, Any]:
    """Load the file of a day as a user would, and build."""
    loaded = _load(server, day, day + 1)
    return server.build(_clock(day + 1), *SELECTION) | loaded
