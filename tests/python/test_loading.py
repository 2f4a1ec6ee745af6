"""Loading files: every format, every rejection, every unreadable file, and nothing half written."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import random
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from python_scoring import loading, warehouse
from python_scoring.errors import LeadlightError
from python_scoring.loading import LoadResult, load_file
from python_scoring.settings import Settings

EVENT_COLUMNS = [
    "event_id",
    "event_type",
    "user_id",
    "session_id",
    "occurred_at",
    "amount",
    "properties",
]
EVENT = {
    "event_id": "e1",
    "event_type": "order_completed",
    "user_id": "u1",
    "session_id": "s1",
    "occurred_at": "2024-03-01T12:00:00Z",
    "amount": "12.50",
    "properties": '{"postcode": "10115", "nested": {"a": [1, null]}}',
}
PREDICTION = {
    "task": "lead_conversion",
    "model_version": "v1",
    "entity_id": "u1",
    "as_of_at": "2024-03-01",
    "score": "0.25",
    "threshold": "0.5",
}
ASSIGNMENT = {"experiment": "coupon", "entity_id": "u1", "arm": "treatment"}
TABLES = {
    "events": "tracking.events",
    "predictions": "scoring.predictions",
    "assignments": "scoring.assignments",
}


@pytest.fixture
def connection(clean_database: Settings) -> Iterator[psycopg.Connection]:
    with warehouse.connect(clean_database) as connection:
        connection.autocommit = True
        yield connection


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def zipped(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def rows_of(connection: psycopg.Connection, kind: str, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"select {columns} from {TABLES[kind]} order by 1").fetchall()


def rejects_of(connection: psycopg.Connection) -> list[tuple[int, str, str]]:
    return connection.execute(
        "select line, reason, content from tracking.load_rejects order by line"
    ).fetchall()


def assert_untouched(connection: psycopg.Connection) -> None:
    for table in (*TABLES.values(), "tracking.loads", "tracking.load_rejects"):
        assert connection.execute(f"select count(*) from {table}").fetchone() == (0,), table


def events_in(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows_of(connection, "events", ", ".join(EVENT_COLUMNS))


EVENTS_AS_STORED = [
    (
        "e1",
        "order_completed",
        "u1",
        "s1",
        datetime(2024, 3, 1, 12, tzinfo=UTC),
        Decimal("12.50"),
        {"postcode": "10115", "nested": {"a": [1, None]}},
    ),
    ("e2", "page_viewed", None, None, None, None, None),
]


def events_as_csv(folder: Path) -> Path:
    return write_csv(
        folder / "events.csv", [EVENT, {"event_id": "e2", "event_type": "page_viewed"}]
    )


def events_as_json(folder: Path) -> Path:
    first = {**EVENT, "amount": 12.5, "properties": json.loads(EVENT["properties"])}
    second = {"event_id": "e2", "event_type": "page_viewed", "user_id": ""}
    return write_json(folder / "events.jsonl", [first, second])


def events_as_parquet(folder: Path) -> Path:
    columns: dict[str, pa.Array] = {
        name: pa.array([EVENT[name], None]) for name in ("user_id", "session_id")
    }
    columns["event_id"] = pa.array(["e1", "e2"])
    columns["event_type"] = pa.array(["order_completed", "page_viewed"]).dictionary_encode()
    columns["occurred_at"] = pa.array([datetime(2024, 3, 1, 13), None], pa.timestamp("us")).cast(
        pa.timestamp("ns")
    )
    columns["occurred_at"] = pa.compute.assume_timezone(columns["occurred_at"], "Europe/Berlin")
    columns["amount"] = pa.array([Decimal("12.50"), None])
    columns["properties"] = pa.array([json.loads(EVENT["properties"]), None])
    path = folder / "events.parquet"
    pq.write_table(pa.table(columns), path)
    return path


FORMATS: dict[str, Callable[[Path], Path]] = {
    "csv": events_as_csv,
    "csv.gz": lambda folder: zipped(events_as_csv(folder)),
    "upper-case ending": lambda folder: events_as_csv(folder).rename(folder / "EVENTS.CSV"),
    "jsonl": events_as_json,
    "jsonl.gz": lambda folder: zipped(events_as_json(folder)),
    "ndjson": lambda folder: events_as_json(folder).rename(folder / "events.ndjson"),
    "parquet": events_as_parquet,
}


@pytest.mark.parametrize("name", FORMATS)
def test_events_arrive_alike_from_every_format(
    connection: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    path = FORMATS[name](tmp_path)

    result = load_file(connection, "events", path)

    assert result == LoadResult(str(path), "tracking.events", n_rows=2)
    assert events_in(connection) == EVENTS_AS_STORED
    ledger = connection.execute("select target, n_rows, n_rejected from tracking.loads").fetchall()
    assert ledger == [("tracking.events", 2, 0)]


def test_text_arrives_unchanged(connection: psycopg.Connection, tmp_path: Path) -> None:
    texts = [
        "tab\there",
        "back\\slash \\N \\.",
        "line\nbreak",
        "carriage\rreturn",
        'quo"te',
        "naïve 🎟",
    ]
    rows = [{**EVENT, "event_id": text, "properties": json.dumps({"t": text})} for text in texts]

    load_file(connection, "events", write_csv(tmp_path / "a.csv", rows))
    load_file(connection, "events", write_json(tmp_path / "b.jsonl", rows))

    stored = connection.execute(
        "select event_id, properties ->> 't' from tracking.events"
    ).fetchall()
    assert sorted(stored) == sorted([(text, text) for text in texts] * 2)


TIMES = {
    "2024-03-01": "2024-03-01 00:00:00",
    "2024-03-01 12:30": "2024-03-01 12:30:00",
    "2024-03-01T12:30:15": "2024-03-01 12:30:15",
    "2024-03-01T12:30:15Z": "2024-03-01 12:30:15",
    "2024-03-01T12:30:15.5+02:00": "2024-03-01 10:30:15.5",
    "2024-03-01 12:30:15.123456789-0530": "2024-03-01 18:00:15.123456",
    "2024-03-01 12:30:15+00": "2024-03-01 12:30:15",
    "0001-01-01": "0001-01-01 00:00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31 23:59:59.999999",
}


def test_times_are_read_as_utc(connection: psycopg.Connection, tmp_path: Path) -> None:
    rows = [{**EVENT, "event_id": time, "occurred_at": time} for time in TIMES]

    load_file(connection, "events", write_csv(tmp_path / "events.csv", rows))

    stored = connection.execute(
        "select event_id, (occurred_at at time zone 'UTC')::text from tracking.events"
    ).fetchall()
    assert dict(stored) == {time: expected.removesuffix(".0") for time, expected in TIMES.items()}


BAD_EVENTS = [
    ({"occurred_at": "yesterday"}, "occurred_at is not an ISO 8601 time"),
    ({"occurred_at": "now"}, "occurred_at is not an ISO 8601 time"),
    ({"occurred_at": "2024-02-30"}, "occurred_at is not an ISO 8601 time"),
    ({"occurred_at": "01/02/2024"}, "occurred_at is not an ISO 8601 time"),
    ({"occurred_at": "1709294400"}, "occurred_at is not an ISO 8601 time"),
    ({"occurred_at": "0001-01-01T00:00:00+05:00"}, "occurred_at is not an ISO 8601 time"),
    ({"occurred_at": "9999-12-31T23:00:00-05:00"}, "occurred_at is not an ISO 8601 time"),
    ({"amount": "12,50"}, "amount is not a finite number"),
    ({"amount": "ten"}, "amount is not a finite number"),
    ({"amount": "NaN"}, "amount is not a finite number"),
    ({"amount": "Infinity"}, "amount is not a finite number"),
    ({"amount": "-inf"}, "amount is not a finite number"),
    ({"amount": "1e400"}, "amount is not a finite number"),
    ({"properties": "{not json}"}, "properties is not JSON that Postgres can store"),
    ({"properties": '{"a": NaN}'}, "properties is not JSON that Postgres can store"),
    ({"properties": '{"a": "\\u0000"}'}, "properties is not JSON that Postgres can store"),
    ({"properties": '{"a": "\\\\\\u0000"}'}, "properties is not JSON that Postgres can store"),
    ({"properties": '{"a": "\\ud83d"}'}, "properties is not JSON that Postgres can store"),
    ({"properties": '{"a": 1e999999}'}, "properties is not JSON that Postgres can store"),
    ({"properties": "[" * 20_000 + "]" * 20_000}, "properties is not JSON that Postgres can store"),
    ({"user_id": "a\0b"}, "user_id is not text without NUL characters"),
    ({"loaded_at": "2999-01-01"}, "loaded_at is in the future"),
]


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_bad_events_are_rejected_with_line_and_reason(
    connection: psycopg.Connection, tmp_path: Path, write: Callable[..., Path]
) -> None:
    base = {**EVENT, "loaded_at": ""}
    rows = [base, *({**base, **cells} for cells, _ in BAD_EVENTS), base]
    path = write(tmp_path / ("bad.csv" if write is write_csv else "bad.jsonl"), rows)

    result = load_file(connection, "events", path)

    assert (result.n_rows, result.n_rejected) == (2, len(BAD_EVENTS))
    first = 3 if write is write_csv else 2
    found = [(line, reason) for line, reason, _ in rejects_of(connection)]
    expected = [(first + i, reason) for i, (_, reason) in enumerate(BAD_EVENTS)]
    if write is write_json:  # a NUL makes the line one that cannot be stored at all
        expected[20] = (first + 20, "a NUL character")
    assert found == expected
    assert connection.execute("select n_rows, n_rejected from tracking.loads").fetchone() == (
        2,
        len(BAD_EVENTS),
    )


def test_a_reject_keeps_the_row_as_it_stands_in_the_file(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    long = "x" * 2000
    path.write_bytes(
        b"event_id,event_type,user_id,occurred_at\r\n"
        b'"e1",click,"u\0",2024-01-01\r\n' + f"{long},click,u1,never\r\n".encode()
    )

    load_file(connection, "events", path)

    contents = [content for _, _, content in rejects_of(connection)]
    assert contents == ['"e1",click,"u ",2024-01-01', long[:1000]]
    stored = connection.execute("select distinct file from tracking.load_rejects").fetchall()
    assert stored == [("events.csv",)]


def test_values_at_the_edge_are_kept(connection: psycopg.Connection, tmp_path: Path) -> None:
    good = [
        {"amount": "-0.00"},
        {"amount": ".5"},
        {"amount": "1e3"},
        {"amount": "12345678901234567890.123456789"},
        {"properties": '{"id": "3e8912345", "escaped": "\\\\u0000", "pair": "\\ud83d\\ude00"}'},
        {"properties": "[]"},
        {"properties": "1e400"},
        {"loaded_at": "2024-03-02T00:00:00Z"},
    ]
    base = {**EVENT, "loaded_at": ""}

    result = load_file(
        connection, "events", write_csv(tmp_path / "a.csv", [{**base, **cells} for cells in good])
    )

    assert (result.n_rows, result.n_rejected) == (len(good), 0)
    amounts = connection.execute(
        "select amount from tracking.events order by delivery_id"
    ).fetchall()
    assert [amount for (amount,) in amounts[:4]] == [
        Decimal(0),
        Decimal("0.5"),
        Decimal(1000),
        Decimal("12345678901234567890.123456789"),
    ]
    given, defaults = connection.execute(
        "select count(*) filter (where loaded_at = '2024-03-02 00:00+00'), "
        "count(*) filter (where loaded_at > now() - interval '1 hour') from tracking.events"
    ).fetchone()
    assert (given, defaults) == (1, len(good) - 1)


BAD_PREDICTIONS = [
    ({"score": "1.01"}, "score is not a number in [0, 1]"),
    ({"score": "-0.01"}, "score is not a number in [0, 1]"),
    ({"score": "NaN"}, "score is not a number in [0, 1]"),
    ({"score": "high"}, "score is not a number in [0, 1]"),
    ({"threshold": "2"}, "threshold is not a number in [0, 1]"),
    ({"threshold": ""}, "score and threshold: one without the other"),
    ({"score": "", "segment": "3"}, "score and threshold: one without the other"),
    ({"predicted_value": "3.5"}, "score, predicted_value, segment: not exactly one is given"),
    ({"score": ""}, "score, predicted_value, segment: not exactly one is given"),
    (
        {"score": "", "predicted_value": "inf"},
        "predicted_value is not a number between -1e100 and 1e100",
    ),
    (
        {"score": "", "predicted_value": "-1e101"},
        "predicted_value is not a number between -1e100 and 1e100",
    ),
    ({"score": "", "segment": "1.5"}, "segment is not a 32-bit integer"),
    ({"score": "", "segment": "3000000000"}, "segment is not a 32-bit integer"),
    ({"task": ""}, "task is empty"),
    ({"model_version": ""}, "model_version is empty"),
    ({"entity_id": ""}, "entity_id is empty"),
    ({"as_of_at": ""}, "as_of_at is empty"),
    ({"as_of_at": "soon"}, "as_of_at is not an ISO 8601 time"),
    ({"predicted_at": "soon"}, "predicted_at is not an ISO 8601 time"),
    ({"run_kind": "test"}, "run_kind is not live or backtest"),
    ({"prediction_id": "17"}, "prediction_id is not a UUID"),
    ({"attributes": "[]"}, "attributes is not a JSON object that Postgres can store"),
    ({"loaded_at": "2999-01-01"}, "loaded_at is in the future"),
]
BAD_ASSIGNMENTS = [
    ({"experiment": ""}, "experiment is empty"),
    ({"entity_id": ""}, "entity_id is empty"),
    ({"arm": ""}, "arm is empty"),
    ({"assigned_at": "soon"}, "assigned_at is not an ISO 8601 time"),
    ({"offer_amount": "-1"}, "offer_amount is not a finite number of at least 0"),
    ({"offer_amount": "nan"}, "offer_amount is not a finite number of at least 0"),
    ({"prediction_id": "17"}, "prediction_id is not a UUID"),
    ({"loaded_at": "2999-01-01"}, "loaded_at is in the future"),
]


@pytest.mark.parametrize(
    ("kind", "row", "bad"),
    [("predictions", PREDICTION, BAD_PREDICTIONS), ("assignments", ASSIGNMENT, BAD_ASSIGNMENTS)],
)
def test_rows_that_break_the_contract_are_rejected(
    connection: psycopg.Connection,
    tmp_path: Path,
    kind: Any,
    row: dict[str, str],
    bad: list[tuple[dict[str, str], str]],
) -> None:
    empty = {name: "" for cells, _ in bad for name in cells}
    base = {**empty, **row}
    path = write_csv(tmp_path / "bad.csv", [base, *({**base, **cells} for cells, _ in bad)])

    result = load_file(connection, kind, path)

    assert (result.n_rows, result.n_rejected, result.n_already_there) == (1, len(bad), 0)
    found = [(line, reason) for line, reason, _ in rejects_of(connection)]
    assert found == [(3 + i, reason) for i, (_, reason) in enumerate(bad)]


def test_predictions_of_every_kind_with_defaults(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    key = {name: PREDICTION[name] for name in ("task", "model_version", "as_of_at")}
    given = str(uuid.uuid4())
    path = write_json(
        tmp_path / "predictions.jsonl",
        [
            {**key, "entity_id": "a", "score": 1e-200, "threshold": 1, "prediction_id": given},
            {**key, "entity_id": "b", "predicted_value": -1.5, "run_kind": "backtest"},
            {**key, "entity_id": 3, "segment": 2, "attributes": {"country": "DE"}},
        ],
    )

    result = load_file(connection, "predictions", path)

    assert (result.n_rows, result.n_rejected) == (3, 0)
    stored = rows_of(
        connection,
        "predictions",
        "entity_id, run_kind, score, predicted_value, segment, threshold, attributes",
    )
    assert stored == [
        ("3", "live", None, None, 2, None, {"country": "DE"}),
        ("a", "live", 1e-200, None, None, 1.0, {}),
        ("b", "backtest", None, -1.5, None, None, {}),
    ]
    ids = dict(rows_of(connection, "predictions", "entity_id, prediction_id::text"))
    assert ids["a"] == given
    assert len(set(ids.values())) == 3
    assert connection.execute(
        "select bool_and(predicted_at = loaded_at and loaded_at > now() - interval '1 hour') "
        "from scoring.predictions"
    ).fetchone() == (True,)


def test_assignments_with_defaults(connection: psycopg.Connection, tmp_path: Path) -> None:
    given = str(uuid.uuid4())
    rows = [
        {**ASSIGNMENT, "offer_amount": "", "prediction_id": ""},
        {**ASSIGNMENT, "entity_id": "u2", "offer_amount": "7.50", "prediction_id": given.upper()},
    ]

    result = load_file(connection, "assignments", write_csv(tmp_path / "assignments.csv", rows))

    assert (result.n_rows, result.target) == (2, "scoring.assignments")
    stored = rows_of(connection, "assignments", "entity_id, arm, offer_amount, prediction_id::text")
    assert stored == [
        ("u1", "treatment", Decimal(0), None),
        ("u2", "treatment", Decimal("7.50"), given),
    ]


@pytest.mark.parametrize(
    ("kind", "row", "told_apart_by"),
    [("predictions", PREDICTION, "score"), ("assignments", ASSIGNMENT, "arm")],
)
def test_a_key_is_written_once_and_the_first_line_wins(
    connection: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
    row: dict[str, str],
    told_apart_by: str,
) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", 100)
    first = [{**row, "entity_id": str(i), told_apart_by: "0.1"} for i in (3, 1, 2)]
    # So many that a sort would not leave them in the order of the file by chance.
    first += [{**row, "entity_id": str(i % 3 + 1), told_apart_by: "0.9"} for i in range(600)]
    second = [{**row, "entity_id": str(i), told_apart_by: "0.5"} for i in (1, 2, 3, 4)]

    once = load_file(connection, kind, write_csv(tmp_path / "once.csv", first))
    again = load_file(connection, kind, write_csv(tmp_path / "again.csv", second))

    assert (once.n_rows, once.n_already_there) == (3, 600)
    assert (again.n_rows, again.n_already_there) == (1, 3)
    stored = rows_of(connection, kind, f"entity_id, {told_apart_by}::text")
    assert stored == [("1", "0.1"), ("2", "0.1"), ("3", "0.1"), ("4", "0.5")]


def test_the_same_file_twice_changes_nothing(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = events_as_csv(tmp_path)
    load_file(connection, "events", path)
    seen: list[int] = []

    again = load_file(connection, "events", path.rename(tmp_path / "renamed.csv"), seen.append)

    assert again == LoadResult(str(tmp_path / "renamed.csv"), "tracking.events", is_repeated=True)
    assert seen == []
    assert events_in(connection) == EVENTS_AS_STORED
    assert connection.execute("select count(*) from tracking.loads").fetchone() == (1,)


def test_the_ledger_knows_the_digest_and_the_target(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"event_id,event_type,user_id,occurred_at\n")

    assert load_file(connection, "events", path).n_rows == 0

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert connection.execute("select source from tracking.loads").fetchone() == (
        f"sha256:{digest}:tracking.events",
    )


def wait_until_blocked(settings: Settings, pid: int) -> None:
    with warehouse.connect(settings) as watcher:
        watcher.autocommit = True
        for _ in range(600):
            blockers = watcher.execute("select cardinality(pg_blocking_pids(%s))", [pid]).fetchone()
            if blockers != (0,):
                return
            watcher.execute("select pg_sleep(0.05)")
    raise AssertionError("the second load did not wait for the first")


@pytest.mark.parametrize("first_fails", [False, True])
def test_two_loads_of_one_file_at_once(
    clean_database: Settings, connection: psycopg.Connection, tmp_path: Path, first_fails: bool
) -> None:
    path = events_as_csv(tmp_path)
    second = warehouse.connect(clean_database)
    results: list[LoadResult] = []
    thread = threading.Thread(target=lambda: results.append(load_file(second, "events", path)))

    def start_second(_: int) -> None:
        if not thread.ident:
            thread.start()
            wait_until_blocked(clean_database, second.info.backend_pid)
            if first_fails:
                raise KeyboardInterrupt

    if first_fails:
        with pytest.raises(KeyboardInterrupt):
            load_file(connection, "events", path, start_second)
    else:
        assert load_file(connection, "events", path, start_second).n_rows == 2
    thread.join()
    second.close()

    assert results == [
        LoadResult(str(path), "tracking.events", n_rows=2)
        if first_fails
        else LoadResult(str(path), "tracking.events", is_repeated=True)
    ]
    assert events_in(connection) == EVENTS_AS_STORED


# The columns of a file.


def header_error(connection: psycopg.Connection, kind: Any, path: Path) -> str:
    with pytest.raises(LeadlightError) as caught:
        load_file(connection, kind, path)
    message = caught.value.format_message()
    assert path.name in message
    assert "\n" not in message
    assert_untouched(connection)
    return message


def test_wrong_columns_are_one_error(connection: psycopg.Connection, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("event_id,event_type,uid,occurred_at,amount,amount\n1,2,3,4,5,6\n")

    message = header_error(connection, "events", path)

    assert "missing user_id; unknown 'uid'; repeated amount" in message
    assert "required are event_id, event_type, user_id, occurred_at" in message
    assert "allowed also session_id, amount, properties, loaded_at" in message


def test_wrong_columns_of_parquet(connection: psycopg.Connection, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table({"event_id": ["e1"], "when": ["2024-01-01"]}), path)

    message = header_error(connection, "events", path)

    assert "missing event_type, user_id, occurred_at; unknown 'when'" in message


def test_predictions_need_one_outcome_column(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    row = {name: value for name, value in PREDICTION.items() if name != "score"}

    message = header_error(connection, "predictions", write_csv(tmp_path / "p.csv", [row]))

    assert "missing one of score/predicted_value/segment" in message


# CSV.


def test_rejects_name_the_physical_line_of_the_row(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "event_id,event_type,user_id,occurred_at\n"
        'e1,click,"a\nb\nc",2024-01-01\n'  # lines 2 to 4
        "e2,click,u,never\n"
        "\n"
        'e3,click,"d\ne",never\n'  # lines 7 and 8
        "e4,click,u\n"
        "e5,click,u,2024-01-01,more\n"
        "e6,click,u,2024-01-01\n"
        "e7,click,u,never"
    )

    result = load_file(connection, "events", path)

    assert (result.n_rows, result.n_rejected) == (2, 5)
    not_a_time = "occurred_at is not an ISO 8601 time"
    assert rejects_of(connection) == [
        (5, not_a_time, "e2,click,u,never"),
        (7, not_a_time, 'e3,click,"d\ne",never'),
        (9, "3 fields instead of 4", "e4,click,u"),
        (10, "5 fields instead of 4", "e5,click,u,2024-01-01,more"),
        (12, not_a_time, "e7,click,u,never"),
    ]
    assert rows_of(connection, "events", "event_id, user_id") == [("e1", "a\nb\nc"), ("e6", "u")]


@pytest.mark.parametrize("n_after", [3, 2000])
def test_a_quote_that_is_never_closed_costs_one_row(
    connection: psycopg.Connection, tmp_path: Path, n_after: int
) -> None:
    path = tmp_path / "events.csv"
    after = "".join(f"{i},click,{'u' * 90},2024-01-01\n" for i in range(n_after))
    path.write_text(
        "event_id,event_type,user_id,occurred_at\n"
        "before,click,u,2024-01-01\n"
        'open,click,"u,2024-01-01\n'
        'after"it,click,"u" x,2024-01-01\n' + after + "short\n"
    )

    result = load_file(connection, "events", path)

    assert (result.n_rows, result.n_rejected) == (1 + n_after, 3)
    rejects = rejects_of(connection)
    assert [(line, content) for line, _, content in rejects] == [
        (3, 'open,click,"u,2024-01-01'),
        (4, 'after"it,click,"u" x,2024-01-01'),
        (5 + n_after, "short"),
    ]
    reasons = [reason.split(":")[0] for _, reason, _ in rejects]
    assert reasons == ["malformed CSV", "malformed CSV", "1 fields instead of 4"]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 7])
def test_batches_may_end_anywhere(
    connection: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch_rows: int,
) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", batch_rows)
    rows = [{**EVENT, "event_id": f"{i:02}", "user_id": "a\n" * (i % 4)} for i in range(20)]
    rows[11] |= {"amount": "x"}

    result = load_file(connection, "events", write_csv(tmp_path / "events.csv", rows))

    assert (result.n_rows, result.n_rejected) == (19, 1)
    (line, _, _), *_ = rejects_of(connection)
    assert line == 2 + sum(1 + i % 4 for i in range(11))
    stored = rows_of(connection, "events", "event_id, coalesce(user_id, '')")
    assert stored == [(f"{i:02}", "a\n" * (i % 4)) for i in range(20) if i != 11]


@pytest.mark.parametrize("write", [events_as_csv, events_as_json])
def test_a_byte_order_mark_is_no_part_of_the_text(
    connection: psycopg.Connection, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    load_file(connection, "events", path)

    assert events_in(connection) == EVENTS_AS_STORED


# JSON lines.


def test_lines_that_are_no_rows_are_rejected(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        '[{"event_id": "in a list"}]\n'
        '{"event_id": "e1", "when": "2024-01-01"}\n'
        "\n"
        '{"event_id": "e2"\n'
        '"e3"\n'
        '{"event_id": "\\ud83d"}\n'
        + "["
        * 100_000
        + '\n{"event_id": "e4", "user_id": 17, "amount": true}\n'
        '{"event_id": "e5", "user_id": 17, "properties": "{\\"a\\": 1}"}'
    )

    result = load_file(connection, "events", path)

    assert (result.n_rows, result.n_rejected) == (1, 7)
    found = [(line, reason.split(":")[0]) for line, reason, _ in rejects_of(connection)]
    assert [line for line, _ in found] == [1, 2, 4, 5, 6, 7, 8]
    assert found[0][1] == found[3][1] == "not a JSON object"
    assert found[1][1] == "unknown key 'when'"
    assert "delimiter" in found[2][1]
    assert "surrogates not allowed" in rejects_of(connection)[4][1]
    assert "recursion" in found[5][1]
    assert found[6][1] == "amount is not a finite number"
    assert rows_of(connection, "events", "event_id, user_id, properties") == [
        ("e5", "17", {"a": 1})
    ]


# Parquet.


def test_parquet_types_are_taken_as_they_come(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    identifier = uuid.uuid4()
    path = tmp_path / "predictions.parquet"
    table = pa.table(
        {
            "prediction_id": pa.array([identifier.bytes, None], pa.uuid()),
            "task": pa.array(["t", "t"], pa.large_string()),
            "model_version": pa.array([7, 8], pa.int32()),
            "entity_id": pa.array([1, 2], pa.int64()),
            "as_of_at": pa.array([date(2024, 3, 1), date(2024, 3, 2)]),
            "predicted_at": pa.array([1_709_294_400, None], pa.timestamp("s")),
            "segment": pa.array([3.0, 4.0]),
            "score": pa.nulls(2),
            "attributes": pa.array([[("country", "DE")], None], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, path)

    result = load_file(connection, "predictions", path)

    assert (result.n_rows, result.n_rejected) == (2, 0)
    stored = rows_of(
        connection, "predictions", "entity_id, model_version, segment, as_of_at, attributes"
    )
    assert stored == [
        ("1", "7", 3, datetime(2024, 3, 1, tzinfo=UTC), {"country": "DE"}),
        ("2", "8", 4, datetime(2024, 3, 2, tzinfo=UTC), {}),
    ]
    assert rows_of(connection, "predictions", "entity_id, prediction_id")[0] == ("1", identifier)
    assert rows_of(connection, "predictions", "entity_id, predicted_at")[0] == (
        "1",
        datetime(2024, 3, 1, 12, tzinfo=UTC),
    )


def test_parquet_times_need_no_time_zone_database(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = events_as_parquet(tmp_path)
    table = pq.read_table(path)
    i = table.column_names.index("occurred_at")
    times = table.column(i).cast(pa.timestamp("us", "Nowhere/At_All"))
    pq.write_table(table.set_column(i, "occurred_at", times), path)

    load_file(connection, "events", path)

    assert events_in(connection) == EVENTS_AS_STORED


def test_parquet_rejects_name_the_row(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", 2)
    path = tmp_path / "events.parquet"
    far = pa.array([0, 0, 0, 2**62, 0], pa.timestamp("us"))
    table = pa.table(
        {
            "event_id": ["e1", "e2", "e3", "e4", "e5"],
            "event_type": ["click"] * 5,
            "user_id": ["u"] * 5,
            "occurred_at": far,
            "amount": [1.0, float("nan"), float("inf"), 2.0, 3.0],
        }
    )
    pq.write_table(table, path)

    result = load_file(connection, "events", path)

    assert (result.n_rows, result.n_rejected) == (2, 3)
    assert [(line, reason) for line, reason, _ in rejects_of(connection)] == [
        (2, "amount is not a finite number"),
        (3, "amount is not a finite number"),
        (4, "occurred_at is not an ISO 8601 time"),
    ]
    assert json.loads(rejects_of(connection)[0][2])["event_id"] == "e2"


# Files that cannot be read.


def folder_named_like_a_file(folder: Path) -> Path:
    path = folder / "folder.csv"
    path.mkdir()
    return path


def cut_off(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-12])
    return path


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


HEADER = b"event_id,event_type,user_id,occurred_at\n"
UNREADABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nowhere.csv", "No such file"),
    "folder": (folder_named_like_a_file, "Is a directory"),
    "empty csv": (written("e.csv", b""), "empty"),
    "empty csv.gz": (written("e.csv.gz", gzip.compress(b"")), "empty"),
    "empty jsonl": (written("e.jsonl", b""), "empty"),
    "empty parquet": (written("e.parquet", b""), "cannot be read"),
    "blank header": (written("e.csv", b"\n" + HEADER), "missing event_id"),
    "open quote in header": (written("e.csv", b'"event_id,event_type\n'), "cannot be read"),
    "truncated gzip": (lambda folder: cut_off(zipped(events_as_csv(folder))), "gzip"),
    "not gzip": (written("e.csv.gz", HEADER), "gzip"),
    "broken gzip": (written("e.csv.gz", gzip.compress(HEADER)[:12] + b"\xff" * 40), "gzip"),
    "gzip without its ending": (written("e.csv", gzip.compress(HEADER)), "UTF-8"),
    "latin-1": (written("e.csv", HEADER + "e,click,é,2024-01-01\n".encode("latin-1")), "UTF-8"),
    "utf-16": (written("e.csv", HEADER.decode().encode("utf-16")), "UTF-8"),
    "latin-1 json": (written("e.jsonl", '{"user_id": "é"}'.encode("latin-1")), "UTF-8"),
    "not parquet": (written("e.parquet", HEADER), "cannot be read"),
    "truncated parquet": (lambda folder: cut_off(events_as_parquet(folder)), "cannot be read"),
    "csv named jsonl": (written("e.jsonl", HEADER), "first line is not JSON"),
    "indented json": (written("e.jsonl", b'{\n"event_id": "e1"\n}\n'), "first line is not JSON"),
    "spreadsheet": (written("e.xlsx", b"PK"), "end in one of .csv"),
    "no ending": (written("events", HEADER), "end in one of .csv"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_one_line(
    connection: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    write, expected = UNREADABLE[name]

    assert expected in header_error(connection, "events", write(tmp_path))


def test_a_line_without_end_is_refused(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "TOO_LONG_LINE", 1000)
    path = events_as_json(tmp_path)
    path.write_text(path.read_text() + "[" + "1, " * 1000)

    assert "line 3 has 1,000 characters or more" in header_error(connection, "events", path)


@pytest.mark.parametrize("kind", ["events", "predictions"])
def test_a_file_that_breaks_off_after_some_batches_leaves_nothing(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", 500)
    noise = random.Random(1)
    base = EVENT if kind == "events" else PREDICTION
    identifier = "event_id" if kind == "events" else "entity_id"
    rows = [{**base, identifier: str(noise.random())} for _ in range(20_000)]
    rows[0] |= {"occurred_at" if kind == "events" else "as_of_at": "never"}
    path = zipped(write_csv(tmp_path / "rows.csv", rows))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    seen: list[int] = []

    with pytest.raises(LeadlightError, match="gzip"):
        load_file(connection, kind, path, seen.append)

    assert len(seen) > 3
    assert_untouched(connection)
    path.write_bytes(content)
    assert load_file(connection, kind, path).n_rows == 19_999


# Progress, memory, and the database.


@pytest.mark.parametrize("name", ["csv", "csv.gz", "jsonl", "parquet"])
def test_progress_ends_with_the_size_of_the_file(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", 1)
    path = FORMATS[name](tmp_path)
    seen: list[int] = []

    load_file(connection, "events", path, seen.append)

    assert len(seen) == 3
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size


def test_memory_does_not_grow_with_the_file(
    connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_ROWS", 2_000)
    path = tmp_path / "events.csv"
    with path.open("wb") as file:
        file.write(HEADER)
        # Every row is rejected: what a file throws out is not to be kept in memory either.
        file.writelines(
            b"event-%09d,page_viewed,user-%09d,never\n" % (i, i) for i in range(200_000)
        )
    n_batches = 0

    def count(_: int) -> None:
        nonlocal n_batches
        n_batches += 1

    tracemalloc.start()
    result = load_file(connection, "events", path, count)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (result.n_rejected, n_batches) == (200_000, 101)
    assert peak < path.stat().st_size / 2


def test_a_lost_connection_is_one_line(
    clean_database: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    def cut(_: int) -> None:
        with warehouse.connect(clean_database) as other:
            other.execute("select pg_terminate_backend(%s)", [lost.info.backend_pid])

    lost = warehouse.connect(clean_database)
    with pytest.raises(LeadlightError, match=r"events\.csv: the database stopped the load"):
        load_file(lost, "events", events_as_csv(tmp_path), cut)

    assert_untouched(connection)


def test_a_database_without_the_tables_says_so(
    make_database: Callable[[str], Settings], tmp_path: Path
) -> None:
    with warehouse.connect(make_database("bare")) as connection:
        connection.execute("drop schema tracking cascade")
        connection.commit()

        with pytest.raises(LeadlightError, match="`leadlight init`"):
            load_file(connection, "events", events_as_csv(tmp_path))


def test_loaded_at_may_be_now_but_not_later(connection: psycopg.Connection, tmp_path: Path) -> None:
    (now,) = connection.execute("select now()").fetchone()
    offsets = [timedelta(seconds=30), timedelta(hours=1)]
    rows = [{**EVENT, "loaded_at": (now + offset).isoformat()} for offset in offsets]

    result = load_file(connection, "events", write_csv(tmp_path / "events.csv", rows))

    assert (result.n_rows, result.n_rejected) == (1, 1)


# fmt: off
NASTY = [
    "0", "-1", "1e308", "1e-320", "1e-999", "-1e-999", "1e1000000", "9" * 100, "9" * 101, "0x10",
    "1_000", " 1", "1 ", "1.", ".", "-", "+5", "\u0967\u0968", "inf", "nan", "null", "true", "'",
    "\\", "\\N", "\\.", "{}", "{", "[]", '"a"', '{"a": 1e999999}', '{"a": 1e-999999}', '{"a": -0}',
    '{"": ""}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": "\\udc00\\ud800"}',
    '{"a": 1, "a": 2}', "9" * 5000, "now", "today", "infinity", "epoch", "allballs", "24:00",
    "2024-01-01T24:00:00", "2024-01-01T23:59:60", "0000-01-01", "-0001-01-01", "10000-01-01",
    "2024-13-01", "20240101", "2024-W01-1", "2024-01-01+02", "2024-01-01T00:00:00+99:99",
    "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00-23:59", "live", "backtest",
    "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}",
    "00000000000000000000000000000000", "0000-00000000-0000-0000-000000000000", "\ufeff", "\x7f",
    "\x01", "\u2028", "\U0010ffff", "\uffff",
]
# fmt: on


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("events", {**EVENT, "loaded_at": ""}),
        (
            "predictions",
            dict.fromkeys(
                ["prediction_id", "run_kind", "predicted_at", "attributes", "loaded_at"], ""
            )
            | PREDICTION,
        ),
        (
            "predictions",
            {**PREDICTION, "score": "", "threshold": "", "predicted_value": "1", "segment": ""},
        ),
        (
            "predictions",
            {**PREDICTION, "score": "", "threshold": "", "predicted_value": "", "segment": "1"},
        ),
        (
            "assignments",
            {**ASSIGNMENT, "assigned_at": "", "offer_amount": "", "prediction_id": ""},
        ),
    ],
)
def test_whatever_stands_in_a_cell_the_file_loads(
    connection: psycopg.Connection, tmp_path: Path, kind: Any, row: dict[str, str]
) -> None:
    rows = [{**row, name: value} for name in row for value in NASTY]
    if kind != "events":
        for i, cells in enumerate(rows):
            cells["entity_id"] = cells["entity_id"] + f" {i}"

    result = load_file(connection, kind, write_csv(tmp_path / "nasty.csv", rows))

    assert result.n_rows + result.n_rejected + result.n_already_there == len(rows)
    assert result.n_rows > 0
    assert result.n_rejected > 0
