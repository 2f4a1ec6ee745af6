"""What a page is made of: sections of figures, each with a sentence and a table behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from python_scoring.report import words
from python_scoring.report.marts import Row

# A longer table is thinned: nobody listens to a thousand points of a curve.
TABLE_ROWS = 40


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, the key of its values, and how they are written."""

    title: str
    key: str
    form: words.Form = words.text

    @property
    def style(self) -> str:
        """Its class in style.css: numbers stand under each other, only prose is broken."""
        if self.form in words.NUMERIC:
            return "number"
        return "prose" if self.form in (words.reason, words.prose) else "word"


@dataclass(frozen=True)
class Table:
    """The numbers behind a figure, written out."""

    columns: Sequence[Column]
    cells: list[list[str]]
    note: str = ""

    @classmethod
    def of(cls, rows: Sequence[Row], *columns: Column, keep: str | None = None) -> Table:
        """Return a table of rows; a long one in equal steps, with those where `keep` is true."""
        step = -(-len(rows) // TABLE_ROWS)
        chosen = [
            row
            for number, row in enumerate(rows)
            if step <= 1 or number % step == 0 or row is rows[-1] or (keep and row[keep])
        ]
        cells = [[column.form(row[column.key]) for column in columns] for row in chosen]
        note = f"{len(chosen)} of {len(rows):,} rows, in equal steps." if step > 1 else ""
        return cls(columns, cells, note)


@dataclass(frozen=True)
class Stat:
    """One number that stands for much, and what to hold it against."""

    label: str
    value: str
    detail: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart with the sentence that says how to read it; or why there is none.

    It takes so many `columns` where there is room. For more than one, `svg` holds the chart twice:
    for a narrow screen and for a wide one.
    """

    reading: str = ""
    svg: Sequence[Markup] = ()
    table: Table | None = None
    title: str = ""
    empty: str = ""
    columns: int = 1


@dataclass(frozen=True)
class Group:
    """Figures about one question."""

    title: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Section:
    """A task or an experiment."""

    anchor: str
    title: str
    kicker: str
    description: str
    shown: str = ""
    badge: tuple[str, str] | None = None
    reasons: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    stats: Sequence[Stat] = ()
    groups: Sequence[Group] = field(default_factory=tuple)
    empty: str = ""


def figure(
    title: str,
    rows: Sequence[Row],
    empty: str,
    make: Callable[[Sequence[Row]], Figure],
    *,
    columns: int = 1,
) -> Figure:
    """Return the figure that `make` makes of rows, or why there is none."""
    made = make(rows) if rows else Figure(empty=empty)
    return replace(made, title=title, columns=columns)
