"""Load files into the contract tables: streamed, validated, one transaction per file.

A file is CSV, JSON lines (either may be gzipped) or Parquet, with the columns of its table. Empty
text is null, a time without an offset is UTC, a nested value is its JSON. Rows that do not fit go
to `tracking.load_rejects` with line and reason; a file that cannot be read is refused whole.
`tracking.loads` knows a file by its bytes and loads it once.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from python_scoring.errors import LeadlightError
from python_scoring.warehouse import BATCH_ROWS, copy_rows

# In characters. Such a line is not a row, and reading it would not be bounded memory.
TOO_LONG_LINE = 1 << 24

# So few rows die before the garbage collector looks at them; that saves a third of the reading.
PIECE_LINES = 500

TEXT = pa.large_string()


@dataclass(frozen=True)
class LoadResult:
    """What became of one file; the counts are rows.

    `n_already_there` rows were skipped because their key is there already (predictions and
    assignments); `is_repeated` says that the same bytes were loaded before: nothing was done.
    """

    file: str
    target: str
    n_rows: int = 0
    n_rejected: int = 0
    n_already_there: int = 0
    is_repeated: bool = False


# Parsers take a column of text and return what Postgres is to read, null where a value is bad.


def _keep(values: pa.Array, condition: pa.Array) -> pa.Array:
    return pc.if_else(condition, values, pa.scalar(None, values.type))


def _matching(values: pa.Array, pattern: str) -> pa.Array:
    return _keep(values, pc.match_substring_regex(values, pattern))


def _between(values: pa.Array, lowest: Any, highest: Any) -> pa.Array:
    is_between = pc.and_(pc.greater_equal(values, lowest), pc.less_equal(values, highest))
    return _keep(values, is_between)


def _text(values: pa.Array) -> pa.Array:
    return _keep(values, pc.invert(pc.match_substring(values, "\0")))


_ISO_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"


def _time(values: pa.Array) -> pa.Array:
    def parsed(text: str | None) -> datetime | None:
        try:
            return text and datetime.fromisoformat(text)
        except ValueError:
            return None

    iso = _matching(values, _ISO_TIME).to_pylist()
    # Arrow brings every offset to UTC, and reads a time without one as UTC.
    times = pa.array(map(parsed, iso), pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    text = _between(times, datetime.min, datetime.max).cast(TEXT)
    return pc.binary_join_element_wise(text, pa.scalar("Z", TEXT), pa.scalar("", TEXT))


_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"


def _double(values: pa.Array, lowest: float = -np.inf, highest: float = np.inf) -> pa.Array:
    short = _keep(values, pc.less_equal(pc.binary_length(values), 100))
    doubles = _between(_matching(short, _NUMBER).cast(pa.float64()), lowest, highest)
    return _keep(doubles, pc.is_finite(doubles)).cast(TEXT)


def _decimal(values: pa.Array, lowest: float = -np.inf) -> pa.Array:
    doubles = _double(values, lowest).cast(pa.float64())
    # Digits stay as written, but what a double calls zero must not keep a minus sign.
    return pc.if_else(pc.equal(doubles, 0), pa.scalar("0", TEXT), values)


def _integer(values: pa.Array) -> pa.Array:
    digits = _matching(values, r"^[+-]?\d{1,10}(\.0*)?$")
    integers = pc.replace_substring_regex(digits, r"^\+|\..*", "").cast(pa.int64())
    return _between(integers, -(2**31), 2**31 - 1).cast(TEXT)


def _refuse(number: str) -> float:
    raise ValueError(f"{number} is not a number that Postgres can store")


def _bounded_float(number: str) -> float:
    exponent = number.lower().partition("e")[2]
    return float(number) if len(exponent) <= 4 else _refuse(number)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_bounded_float)
_NUL_ESCAPE = re.compile(r"(?<!\\)(\\\\)*\\u0000")


def _decode(text: str) -> Any:
    """Return a JSON value; ValueError also for what JSON can say and jsonb cannot store."""
    value = _DECODER.decode(text)
    if "\\u" in text:
        if _NUL_ESCAPE.search(text):
            raise ValueError("a NUL character")
        json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair
    return value


def _json(values: pa.Array, kind: type = object) -> pa.Array:
    def is_storable(text: str) -> bool:
        try:
            return isinstance(_decode(text), kind)
        except (ValueError, RecursionError):
            return False

    encoded = values.dictionary_encode()
    storable = [is_storable(text) for text in encoded.dictionary.to_pylist()]
    return _keep(values, pa.array(storable, pa.bool_()).take(encoded.indices))


_UUID = r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$"

# What a column takes, by its name, which means the same in every table; all others take text.
_TEXT = (_text, "text without NUL characters")
_TIME = (_time, "an ISO 8601 time")
_SHARE = (partial(_double, lowest=0, highest=1), "a number in [0, 1]")
_TYPES: dict[str, tuple[Callable[[pa.Array], pa.Array], str]] = {
    "amount": (_decimal, "a finite number"),
    "as_of_at": _TIME,
    "assigned_at": _TIME,
    "attributes": (partial(_json, kind=dict), "a JSON object that Postgres can store"),
    "loaded_at": _TIME,
    "occurred_at": _TIME,
    "offer_amount": (partial(_decimal, lowest=0), "a finite number of at least 0"),
    "predicted_at": _TIME,
    "predicted_value": (
        partial(_double, lowest=-1e100, highest=1e100),
        "a number between -1e100 and 1e100",
    ),
    "prediction_id": (partial(_matching, pattern=_UUID), "a UUID"),
    "properties": (_json, "JSON that Postgres can store"),
    "run_kind": (partial(_matching, pattern="^(live|backtest)$"), "live or backtest"),
    "score": _SHARE,
    "segment": (_integer, "a 32-bit integer"),
    "threshold": _SHARE,
}


@dataclass(frozen=True)
class _Kind:
    """A contract table, as far as files fill it.

    `optional` maps a column to what stands for its empty cells. Exactly one of `outcomes` is given
    in a row. A table with a `key` takes no empty required cell and skips rows that it has.
    """

    table: str
    required: tuple[str, ...]
    optional: dict[str, str | Callable[[], str] | None]
    outcomes: tuple[str, ...] = ()
    key: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return (*self.required, *self.outcomes, *self.optional)


# To Postgres, the text `now` is what now() returns: the start of the transaction.
_ARRIVAL = {"loaded_at": "now"}

_KINDS = {
    "events": _Kind(
        "tracking.events",
        required=("event_id", "event_type", "user_id", "occurred_at"),
        optional={"session_id": None, "amount": None, "properties": None, **_ARRIVAL},
    ),
    "predictions": _Kind(
        "scoring.predictions",
        required=("task", "model_version", "entity_id", "as_of_at"),
        optional={
            "prediction_id": lambda: str(uuid4()),
            "run_kind": "live",
            "predicted_at": "now",
            "threshold": None,
            "attributes": "{}",
            **_ARRIVAL,
        },
        outcomes=("score", "predicted_value", "segment"),
        key=("task", "model_version", "run_kind", "entity_id", "as_of_at"),
    ),
    "assignments": _Kind(
        "scoring.assignments",
        required=("experiment", "entity_id", "arm"),
        optional={"assigned_at": "now", "offer_amount": "0", "prediction_id": None, **_ARRIVAL},
        key=("experiment", "entity_id"),
    ),
}


# Reading: a file becomes batches of columns of text.


@dataclass(frozen=True)
class _Batch:
    """Rows of a file: their lines, the text of row i, their columns, rows rejected already."""

    lines: Sequence[int]
    content: Callable[[int], str]
    columns: dict[str, pa.Array]
    reasons: dict[int, str]
    n_bytes_read: int


# Some rows of a text: their lines, texts and cells, and those rejected already (cells all null).
_Piece = tuple[Sequence[int], Sequence[str], Sequence[Sequence[str | None]], dict[int, str]]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever reading a file may raise into one line for people."""
    try:
        yield
    except UnicodeDecodeError as error:
        fault = "it is not UTF-8 text; save it as UTF-8, or name it .gz if it is gzipped"
        raise LeadlightError(f"{path}: {fault}; nothing was loaded") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault = f"it is not whole gzip data ({error}); fetch or write it again"
        raise LeadlightError(f"{path}: {fault}; nothing was loaded") from error
    except (OSError, ValueError, OverflowError, csv.Error, pa.ArrowException) as error:
        fault = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
        advice = "check that it is there and is what the end of its name says"
        raise LeadlightError(f"{path}: {fault}; {advice}; nothing was loaded") from error


def _check_header(path: Path, kind: _Kind, header: Sequence[str]) -> None:
    missing = [name for name in kind.required if name not in header]
    if kind.outcomes and not set(kind.outcomes) & set(header):
        missing.append("one of " + "/".join(kind.outcomes))
    unknown = [repr(name[:80]) for name in header if name not in kind.columns][:10]
    repeated = sorted({name for name in kind.columns if header.count(name) > 1})
    faults = {"missing": missing, "unknown": unknown, "repeated": repeated}
    found = "; ".join(f"{fault} {', '.join(names)}" for fault, names in faults.items() if names)
    if found:
        allowed = ", ".join(name for name in kind.columns if name not in kind.required)
        raise LeadlightError(
            f"{path}: its columns do not fit {kind.table}: {found}; required are "
            f"{', '.join(kind.required)}, allowed also {allowed}; nothing was loaded"
        )


class _Lines:
    """The physical lines of a text, which can be given back; `number` is that of the next."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self.path = path
        self.number = 1
        self._source = iter(partial(stream.readline, TOO_LONG_LINE), "")
        self._again: deque[str] = deque()

    def take(self, n: int) -> list[str]:
        """Return the next n lines, fewer at the end of the text."""
        lines = [self._again.popleft() for _ in range(min(n, len(self._again)))]
        lines += islice(self._source, n - len(lines))
        if max(map(len, lines), default=0) == TOO_LONG_LINE:
            number = self.number + lines.index(max(lines, key=len))
            raise LeadlightError(
                f"{self.path}: line {number} has {TOO_LONG_LINE:,} characters or more; write one "
                "row per line; nothing was loaded"
            )
        self.number += len(lines)
        return lines

    def give_back(self, lines: Sequence[str]) -> None:
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)

    def one_by_one(self, taken: list[str]) -> Iterator[str]:
        """Yield the next lines and append them to `taken`."""
        while lines := self.take(1):
            taken += lines
            yield lines[0]


def _csv_piece(lines: _Lines, block: list[str], width: int) -> _Piece:
    try:
        rows = list(csv.reader(block, strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(block) and set(map(len, rows)) == {width}:
        return range(lines.number - len(block), lines.number), block, rows, {}
    lines.give_back(block)
    return _csv_piece_with_care(lines, len(block), width)


def _csv_piece_with_care(lines: _Lines, n_lines: int, width: int) -> _Piece:
    """Read the rows that begin on the next n lines, where not every line is a sound row."""
    numbers, texts, rows, reasons = [], [], [], {}
    end = lines.number + n_lines
    while lines.number < end:
        number = lines.number
        taken: list[str] = []
        try:
            cells = next(csv.reader(lines.one_by_one(taken), strict=True))
            reason = None if len(cells) == width else f"{len(cells)} fields instead of {width}"
        except csv.Error as error:
            # A quote that is never closed takes good rows with it: they are read again.
            lines.give_back(taken[1:])
            del taken[1:]
            cells, reason = taken, f"malformed CSV: {error}"
        if not cells:
            continue  # an empty line is no row
        if reason:
            reasons[len(rows)] = reason
            cells = [None] * width
        numbers.append(number)
        texts.append("".join(taken))
        rows.append(cells)
    return numbers, texts, rows, reasons


def _json_piece(lines: _Lines, block: list[str], kind: _Kind) -> _Piece:
    numbers, texts, rows, reasons = [], [], [], {}
    for number, text in enumerate(block, lines.number - len(block)):
        if text.isspace():
            continue
        try:
            cells = _json_cells(text, kind)
        except (ValueError, RecursionError) as error:
            if number == 1 and isinstance(error, json.JSONDecodeError):
                raise LeadlightError(
                    f"{lines.path}: its first line is not JSON ({error}); write one JSON object "
                    "per line; nothing was loaded"
                ) from error
            reasons[len(rows)] = str(error)
            cells = [None] * len(kind.columns)
        numbers.append(number)
        texts.append(text)
        rows.append(cells)
    return numbers, texts, rows, reasons


def _json_cells(text: str, kind: _Kind) -> list[str | None]:
    row = _decode(text)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    if unknown := row.keys() - kind.columns:
        raise ValueError(f"unknown key {min(unknown)[:80]!r}")
    cells = map(row.get, kind.columns)
    return [cell if cell is None or type(cell) is str else json.dumps(cell) for cell in cells]


def _read_text(path: Path, file: BinaryIO, kind: _Kind, ending: str) -> Iterator[_Batch]:
    is_csv = ending.startswith(".csv")
    plain = gzip.GzipFile(fileobj=file) if ending.endswith(".gz") else file
    # Kept by its name here, because it closes the file when it goes.
    text = io.TextIOWrapper(plain, encoding="utf-8-sig", newline="" if is_csv else "\n")
    lines = _Lines(path, text)
    first = lines.take(1)
    if not first:
        raise LeadlightError(f"{path}: it is empty; write the file again; nothing was loaded")
    lines.give_back(first)
    if is_csv:
        names: Sequence[str] = next(csv.reader(lines.one_by_one([]), strict=True), [])
        _check_header(path, kind, names)
        read_piece = partial(_csv_piece, width=len(names))
    else:
        names = kind.columns
        read_piece = partial(_json_piece, kind=kind)
    while True:
        numbers, texts, reasons = [], [], {}
        cells: list[list[str | None]] = [[] for _ in names]
        while block := lines.take(min(PIECE_LINES, BATCH_ROWS - len(numbers))):
            piece_numbers, piece_texts, rows, piece_reasons = read_piece(lines, block)
            reasons |= {len(numbers) + i: reason for i, reason in piece_reasons.items()}
            numbers += piece_numbers
            texts += piece_texts
            for column, values in zip(cells, zip(*rows, strict=True), strict=bool(rows)):
                column += values
        if not numbers:
            return
        arrays = (_as_text(pa.array(column, TEXT)) for column in cells)
        columns = dict(zip(names, arrays, strict=True))
        yield _Batch(numbers, texts.__getitem__, columns, reasons, file.tell())


def _read_parquet(path: Path, file: BinaryIO, kind: _Kind) -> Iterator[_Batch]:
    size = file.seek(0, io.SEEK_END)
    parquet = pq.ParquetFile(file)
    names = parquet.schema_arrow.names
    _check_header(path, kind, names)
    n_read = 0
    for record in parquet.iter_batches(BATCH_ROWS):
        columns = dict(zip(names, map(_as_text, record.columns), strict=True))

        def content(i: int, columns: dict[str, pa.Array] = columns) -> str:
            return json.dumps({name: values[i].as_py() for name, values in columns.items()})

        numbers = range(n_read + 1, n_read + len(record) + 1)
        n_read += len(record)
        yield _Batch(numbers, content, columns, {}, size * n_read // parquet.metadata.num_rows)


def _as_text(values: pa.Array) -> pa.Array:
    """Return a column as text: nested values as JSON, times in UTC, empty text as null."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type):
        # UTC is what is stored; to write it in another zone would take a time zone database.
        values = values.cast(pa.timestamp(values.type.unit))
    elif pa.types.is_nested(values.type):
        nested = values.to_pylist(maps_as_pydicts="strict")
        texts = [None if value is None else json.dumps(value, default=str) for value in nested]
        values = pa.array(texts, TEXT)
    elif values.type == pa.binary(16):
        texts = [None if value is None else str(UUID(bytes=value)) for value in values.to_pylist()]
        values = pa.array(texts, TEXT)
    values = values.cast(TEXT)
    return _keep(values, pc.not_equal(values, ""))


_ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".parquet")


def _batches(path: Path, file: BinaryIO, kind: _Kind) -> Iterator[_Batch]:
    """Read a file from its beginning; errors of whoever takes the batches stay what they are."""
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise LeadlightError(f"{path}: its name has to end in one of {', '.join(_ENDINGS)}")
    with _reading(path):
        file.seek(0)
        if ending == ".parquet":
            yield from _read_parquet(path, file, kind)
        else:
            yield from _read_text(path, file, kind, ending)


# Writing: a batch becomes rows of the table, and rejects.


def _validate(
    batch: _Batch, kind: _Kind, latest_arrival: str
) -> tuple[dict[str, pa.Array], dict[int, str]]:
    """Return every column of the kind, ready for COPY, and the reasons of rejected rows."""
    reasons = dict(batch.reasons)

    def reject(is_bad: pa.Array, reason: str) -> None:
        for row in np.flatnonzero(is_bad.fill_null(False)):
            reasons.setdefault(int(row), reason)

    columns = {}
    for name in kind.columns:
        parse, what = _TYPES.get(name, _TEXT)
        given = batch.columns.get(name, pa.nulls(len(batch.lines), TEXT))
        columns[name] = parse(given)
        reject(pc.and_(given.is_valid(), columns[name].is_null()), f"{name} is not {what}")
        if kind.key and name in kind.required:
            reject(given.is_null(), f"{name} is empty")
    reject(pc.greater(columns["loaded_at"], latest_arrival), "loaded_at is in the future")
    if kind.outcomes:
        n_given = sum(np.asarray(columns[name].is_valid()).astype(int) for name in kind.outcomes)
        reject(pa.array(n_given != 1), f"{', '.join(kind.outcomes)}: not exactly one is given")
        has_score, has_threshold = columns["score"].is_valid(), columns["threshold"].is_valid()
        reject(pc.xor(has_score, has_threshold), "score and threshold: one without the other")
    for name, default in kind.optional.items():
        if callable(default):
            filled = [value or default() for value in columns[name].to_pylist()]
            columns[name] = pa.array(filled, TEXT)
        elif default is not None:
            columns[name] = columns[name].fill_null(default)
    return columns, reasons


def _escaped(values: pa.Array) -> pa.Array:
    """Escape what COPY's text format gives a meaning to."""
    text = values.buffers()[2]
    found = b"" if text is None else text.to_pybytes()
    for character, escape in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        if character.encode() in found:
            values = pc.replace_substring(values, character, escape)
    return values


def _copy(connection: psycopg.Connection, table: str, columns: dict[str, pa.Array]) -> None:
    """Append rows to a table, by COPY."""
    cells = [_escaped(values) for values in columns.values()]
    lines = pc.binary_join_element_wise(
        *cells, pa.scalar("\t", TEXT), null_handling="replace", null_replacement=r"\N"
    )
    statement = f"copy {table} ({', '.join(columns)}) from stdin"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("\n".join([*lines.to_pylist(), ""]))


def _excerpt(text: str) -> str:
    return text[:1000].rstrip("\r\n").replace("\0", " ")


def load_file(
    connection: psycopg.Connection,
    kind: Literal["events", "predictions", "assignments"],
    path: Path,
    progress: Callable[[int], None] | None = None,
) -> LoadResult:
    """Load one file in one transaction; `progress` gets the bytes of the file read so far.

    The connection is to be idle: inside a transaction of the caller, it is the caller who commits.
    Of the rows with one key the first is kept, be it in the table or the file. `loaded_at` is held
    against the clock of the database.

    Raises:
        LeadlightError: the file is missing, unreadable or does not fit the table, or the database
            refuses or goes away. Nothing of the file is written then.
    """
    target = _KINDS[kind]
    with _reading(path):
        file = path.open("rb")
    with file:
        with _reading(path):
            source = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}:{target.table}"
            size = file.tell()
        try:
            with connection.transaction():
                result = _load(connection, target, path, file, source, progress)
        except psycopg.Error as error:
            raise LeadlightError(
                f"{path}: the database stopped the load ({error}); nothing was loaded; see that it "
                "is up and that `leadlight init` was run, then load the file again"
            ) from error
    if progress and not result.is_repeated:
        progress(size)
    return result


def _load(
    connection: psycopg.Connection,
    kind: _Kind,
    path: Path,
    file: BinaryIO,
    source: str,
    progress: Callable[[int], None] | None,
) -> LoadResult:
    # A load of the same bytes that is under way makes this wait, and find them there after it.
    ledger = connection.execute(
        "insert into tracking.loads (source, target, n_rows, n_rejected) values (%s, %s, 0, 0) "
        "on conflict (source) do nothing returning load_id, loaded_at",
        [source, kind.table],
    ).fetchone()
    if ledger is None:
        return LoadResult(str(path), kind.table, is_repeated=True)
    load_id, started_at = ledger
    latest_arrival = (started_at.astimezone(UTC) + timedelta(minutes=1)).strftime(
        "%Y-%m-%d %H:%M:%S.%fZ"
    )
    file_name = path.name.encode(errors="replace").decode()
    names = ", ".join(kind.columns)
    landing = "pg_temp.leadlight_landing" if kind.key else kind.table
    if kind.key:
        connection.execute(
            f"create table {landing} as select {names}, 0::bigint as line from {kind.table} "
            "with no data"
        )
    n_landed = n_rejected = 0
    for batch in _batches(path, file, kind):
        columns, reasons = _validate(batch, kind, latest_arrival)
        if kind.key:
            columns["line"] = pa.array(batch.lines).cast(TEXT)
        rows = np.setdiff1d(np.arange(len(batch.lines)), list(reasons))
        _copy(connection, landing, {name: values.take(rows) for name, values in columns.items()})
        n_landed += len(rows)
        rejects = (
            (load_id, file_name, batch.lines[row], reason, _excerpt(batch.content(row)))
            for row, reason in sorted(reasons.items())
        )
        fields = ("load_id", "file", "line", "reason", "content")
        n_rejected += copy_rows(connection, "tracking.load_rejects", fields, rejects)
        if progress:
            progress(batch.n_bytes_read)
    n_rows = n_landed
    if kind.key:
        # In key order two loads cannot wait for each other; the first line of a key wins.
        n_rows = connection.execute(
            f"insert into {kind.table} ({names}) select {names} from {landing} "
            f"order by {', '.join(kind.key)}, line on conflict do nothing"
        ).rowcount
        connection.execute(f"drop table {landing}")
    connection.execute(
        "update tracking.loads set n_rows = %s, n_rejected = %s where load_id = %s",
        [n_rows, n_rejected, load_id],
    )
    return LoadResult(str(path), kind.table, n_rows, n_rejected, n_landed - n_rows)
