"""Numbers, shares, money and days as a person reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

UNKNOWN = "unknown"

# A space that keeps a number and its unit on one line.
THIN = "\N{NARROW NO-BREAK SPACE}"

Form = Callable[[Any], str]


def known(form: Form) -> Form:
    """Return a form that says `unknown` of NULL."""
    return lambda value: UNKNOWN if value is None else form(value)


def _minus(text: str) -> str:
    """Return a number with a real minus, which is as wide as a plus."""
    return text.replace("-", "\N{MINUS SIGN}")


def _fine(value: float) -> str:
    """Return four digits that count, whatever the size."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:#.4g}".rstrip(".") if abs(value) >= 0.001 else f"{value:.2e}"


# `z`: what rounds to zero has no sign.
text: Form = known(str)
count: Form = known(lambda value: f"{value:,}")
tenth: Form = known(lambda value: _minus(f"{value:z.1f}"))
decimal: Form = known(lambda value: _minus(f"{value:z.3f}"))
fine: Form = known(lambda value: _minus(_fine(value)))
exact: Form = known(lambda value: _minus(f"{value:g}"))
share: Form = known(lambda value: _minus(f"{100 * value:z.1f}{THIN}%"))
points: Form = known(lambda value: _minus(f"{100 * value:+z.2f}"))
money: Form = known(lambda value: _minus(f"{value:z,.2f}"))
gain: Form = known(lambda value: _minus(f"{value:+z,.2f}"))
whole_gain: Form = known(lambda value: _minus(f"{value:+z,.0f}"))
p_value: Form = known(lambda value: f"<{THIN}0.001" if value < 0.001 else f"{value:.3f}")
yes_no: Form = known(lambda value: "yes" if value else "no")
day: Form = known(lambda value: f"{value:%Y-%m-%d}")
minute: Form = known(lambda value: f"{value:%Y-%m-%d %H:%M} UTC")


def reason(value: str | None) -> str:
    """Return why something is unknown, nothing where it is known."""
    return value or ""


prose: Form = known(str)


def decimal_or_blank(value: float | None) -> str:
    """Return a number, and nothing where there is none to be had."""
    return "" if value is None else decimal(value)


NUMERIC = (
    decimal_or_blank,
    tenth,
    count,
    decimal,
    fine,
    share,
    points,
    money,
    gain,
    whole_gain,
    p_value,
)


def interval(lower: float | None, upper: float | None, form: Form) -> str:
    """Return a 95 % interval, or that it is unknown."""
    if lower is None or upper is None:
        return f"interval {UNKNOWN}"
    return f"{form(lower)} to {form(upper)}"


def title(name: str) -> str:
    """Return a name of the registry as a title."""
    spaced = name.replace("_", " ")
    return spaced[:1].upper() + spaced[1:]


def plain(name: str) -> str:
    """Return a name of the registry within a sentence."""
    return name.replace("_", " ")


def span(first: date | datetime | None, last: date | datetime | None) -> str:
    """Return from when to when."""
    return day(first) if first == last else f"{day(first)} to {day(last)}"
