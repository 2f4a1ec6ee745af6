"""Charts, drawn by Altair as SVG whose colours are variables of the page's style."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert
from markupsafe import Markup

from python_scoring.report import words
from python_scoring.report.marts import Row

NARROW, WIDE = 360, 760
HEIGHT = 232

# A row that has its name above it, in pixels: its height, and where name and line are in it.
LINE, NAME_ABOVE, LINE_BELOW = 34, -8, 8
FEW_DAYS = 12

# Colours that nothing else has, each in place of a variable of style.css: one drawing serves the
# light, the dark and the printed page.
INK, MUTED, GRID, SURFACE, ACCENT, SECOND, THIRD, GOOD, BAD = (
    f"#fe{number:02x}ef" for number in range(9)
)
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
}
SERIES = (ACCENT, SECOND, THIRD, MUTED)
DASHES = ([1, 0], [5, 3], [2, 2], [8, 3])

CONFIG = {
    "aria": False,
    "background": "transparent",
    # The widths of its letters are known to the drawing; the page's own font is near enough.
    "font": "Arial",
    "view": {"stroke": None},
    "axis": {
        "domainColor": GRID,
        "gridColor": GRID,
        "labelColor": MUTED,
        "labelFontSize": 11,
        "labelLimit": 140,
        "labelOverlap": True,
        "labelPadding": 5,
        "tickColor": GRID,
        "tickSize": 4,
        "titleColor": MUTED,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titlePadding": 6,
    },
    "legend": {
        "columns": 3,
        "labelColor": INK,
        "labelFontSize": 11,
        "labelLimit": 300,
        "offset": 6,
        "orient": "top",
        "symbolOpacity": 1,
        "symbolSize": 70,
        "symbolStrokeWidth": 2,
        "title": None,
        "rowPadding": 2,
        "columnPadding": 12,
    },
    "title": {
        "anchor": "start",
        "color": MUTED,
        "fontSize": 11,
        "fontWeight": "normal",
        "frame": "bounds",
        "offset": 8,
    },
    "text": {"color": INK, "fontSize": 11},
}
_numbers = itertools.count()
ElementTree.register_namespace("", "http://www.w3.org/2000/svg")


def render(chart: alt.LayerChart, label: str, y_title: str, *, width: int, height: int) -> Markup:
    """Return a chart as SVG for the page: `label` is what a screen reader says of it."""
    sized = chart.properties(
        width=width,
        height=height,
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        padding=2,
        title=y_title,
    )
    drawing = vl_convert.vegalite_to_svg({**sized.to_dict(), "config": CONFIG})
    root = ElementTree.fromstring(drawing)
    # What the drawing gives a name to has one that no other drawing of the page has.
    prefix = f"c{next(_numbers)}-"
    for element in root.iter():
        for name in ("class", "role", "aria-hidden", "aria-roledescription", "font-family"):
            element.attrib.pop(name, None)
        for name, value in element.attrib.items():
            if value in VARIABLES:
                element.set(name, VARIABLES[value])
            elif name == "id":
                element.set(name, prefix + value)
            elif value.startswith("url(#"):
                element.set(name, f"url(#{prefix}{value[5:]}")
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def both_widths(
    draw: Callable[[int], alt.LayerChart], label: str, y_title: str, *, wide: bool, height: int
) -> list[Markup]:
    """Return a chart for a narrow column and, if asked for, drawn anew for a wide one."""
    widths = (NARROW, WIDE) if wide else (NARROW,)
    return [render(draw(w), label, y_title, width=w, height=height) for w in widths]


def curve(
    rows: Sequence[Row],
    label: str,
    *,
    x: tuple[str, str, str],
    y: tuple[str, str, str],
    series: str | None = None,
    band: tuple[str, str] | None = None,
    marks: Sequence[tuple[str, Row]] = (),
    reference: Sequence[Row] = (),
    zero_line: bool = False,
    dots: bool = False,
    square: bool = False,
    wide: bool = False,
) -> list[Markup]:
    """Draw a line through rows in their order.

    `x` and `y` are key, title and format of an axis. `marks` are points with names for the legend;
    `reference` are the points of a line to hold the curve against; with `square`, both axes go from
    0 to 1.
    """
    x_key, x_title, x_format = x
    y_key, y_title, y_format = y
    x_scale, domain = (
        (alt.Scale(domain=[0, 1]),) * 2
        if square
        else (alt.Scale(zero=False, nice=True), _heights(rows, y_key, *(band or ())))
    )
    x_axis = alt.X("x:Q", title=x_title, scale=x_scale, axis=alt.Axis(format=x_format, tickCount=5))
    y_axis = alt.Y("y:Q", title=None, scale=domain, axis=alt.Axis(format=y_format, tickCount=5))
    points = [
        {
            "place": place,
            "x": _plain(row[x_key]),
            "y": _plain(row[y_key]),
            "series": str(row[series]) if series else "",
        }
        | ({"lower": _plain(row[band[0]]), "upper": _plain(row[band[1]])} if band else {})
        for place, row in enumerate(rows)
        if row[x_key] is not None and row[y_key] is not None
    ]
    layers = []
    if reference:
        ends = [{"x": _plain(row[x_key]), "y": _plain(row[y_key])} for row in reference]
        layers.append(_of(ends).mark_line(color=MUTED, strokeDash=[3, 3]).encode(x_axis, y_axis))
    if zero_line:
        layers.append(_zero(alt.Y("y:Q", scale=domain)))
    if band:
        known = [point for point in points if point["lower"] is not None]
        layers.append(
            _of(known)
            .mark_area(color=ACCENT, opacity=0.18)
            .encode(x_axis, alt.Y("lower:Q", title=None, scale=domain), alt.Y2("upper:Q"))
        )
    line = _of(points).mark_line(color=ACCENT, strokeWidth=2)
    encoding: list[Any] = [x_axis, y_axis, alt.Order("place:Q")]
    if series:
        names = list(dict.fromkeys(point["series"] for point in points))
        encoding += [_colours(names), _dashes(names)]
    layers.append(line.encode(*encoding))
    if dots:
        layers.append(
            _of(points).mark_point(color=ACCENT, fill=SURFACE, size=28).encode(x_axis, y_axis)
        )
    if marks:
        named = [
            {"x": _plain(row[x_key]), "y": _plain(row[y_key]), "name": name}
            for name, row in marks
            if row[x_key] is not None and row[y_key] is not None
        ]
        names = [name for name, _ in marks]
        shapes = ["circle", "diamond", "triangle-up"][: len(names)]
        layers.append(
            _of(named)
            .mark_point(filled=True, size=90, opacity=1, stroke=SURFACE, strokeWidth=1.5)
            .encode(
                x_axis,
                y_axis,
                alt.Shape("name:N", scale=alt.Scale(domain=names, range=shapes), title=None),
                alt.Color(
                    "name:N",
                    scale=alt.Scale(domain=names, range=[SECOND, THIRD, GOOD][: len(names)]),
                    title=None,
                ),
            )
        )
    chart = alt.layer(*layers)
    return both_widths(lambda _: chart, label, y_title, wide=wide, height=HEIGHT)


def reliability(
    rows: Sequence[Row],
    label: str,
    *,
    x: tuple[str, str],
    keys: tuple[str, str, str],
    y_title: str,
) -> list[Markup]:
    """Draw what came true over what was promised, with intervals, both from 0 to 1."""
    value, lower, upper = keys
    points = [
        {
            "x": _plain(row[x[0]]),
            "y": _plain(row[value]),
            "lower": _plain(row[lower]),
            "upper": _plain(row[upper]),
        }
        for row in rows
    ]
    domain = alt.Scale(domain=[0, 1])
    x_axis = alt.X("x:Q", title=x[1], scale=domain, axis=alt.Axis(format=".0%", tickCount=5))
    axis = alt.Axis(format=".0%", tickCount=5)
    y_axis = alt.Y("y:Q", title=None, scale=domain, axis=axis)
    chart = alt.layer(
        _of([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        .mark_line(color=MUTED, strokeDash=[3, 3])
        .encode(x_axis, y_axis),
        _of(points)
        .mark_rule(color=ACCENT, strokeWidth=2)
        .encode(x_axis, alt.Y("lower:Q", title=None, scale=domain, axis=axis), alt.Y2("upper:Q")),
        _of(points)
        .mark_point(color=ACCENT, filled=True, size=60, opacity=1)
        .encode(x_axis, y_axis),
    )
    return both_widths(lambda _: chart, label, y_title, wide=False, height=HEIGHT)


def daily(
    rows: Sequence[Row],
    label: str,
    *,
    day: str,
    y: tuple[str, str, str],
    series: str | None = None,
    bands: Sequence[tuple[str, str, float]] = (),
    pending: Sequence[date] = (),
    lines: Sequence[float] = (),
    domain: tuple[float, float] | None = None,
    wide: bool = False,
) -> list[Markup]:
    """Draw a value by day, with intervals; days that wait for labels are shaded.

    A band is the keys of its edges and how opaque it is; `lines` are heights to hold the value
    against; what lies outside of a `domain` is cut off.
    """
    y_key, y_title, y_format = y
    edges = [key for lower, upper, _ in bands for key in (lower, upper)]
    scale = alt.Scale(domain=list(domain)) if domain else _heights(rows, y_key, *edges)
    y_axis = alt.Y("y:Q", title=None, scale=scale, axis=alt.Axis(format=y_format, tickCount=5))
    points = [
        {
            "date": row[day].isoformat(),
            "y": _plain(row[y_key]),
            "series": str(row[series]) if series else "",
        }
        | {
            name: _plain(row[key])
            for number, (lower, upper, _) in enumerate(bands)
            for name, key in ((f"lower{number}", lower), (f"upper{number}", upper))
        }
        for row in rows
    ]
    names = list(dict.fromkeys(point["series"] for point in points))
    n_days = len({point["date"] for point in points})

    def draw(width: int) -> alt.LayerChart:
        x_axis = _days("date", 8 if width == WIDE else 4)
        layers = []
        if pending:
            shades = [
                {"date": first.isoformat(), "until": (first + timedelta(days=1)).isoformat()}
                for first in pending
            ]
            layers.append(
                _of(shades)
                .mark_rect(color=MUTED, opacity=0.16)
                .encode(x_axis, alt.X2("until:T"), y=alt.value(0), y2=alt.value("height"))
            )
        for height in lines:
            layers.append(
                _of([{"y": height}])
                .mark_rule(color=MUTED, strokeDash=[3, 3])
                .encode(alt.Y("y:Q", scale=scale))
            )
        colour = [_colours(names)] if series else []
        for number, (_, _, opacity) in enumerate(bands):
            known = [point for point in points if point[f"lower{number}"] is not None]
            band = _of(known).mark_area(color=ACCENT, opacity=opacity, clip=True)
            if n_days == 1:
                band = _of(known).mark_rule(color=ACCENT, opacity=0.5, strokeWidth=3)
            layers.append(
                band.encode(
                    x_axis,
                    alt.Y(f"lower{number}:Q", title=None, scale=scale),
                    alt.Y2(f"upper{number}:Q"),
                    *colour,
                )
            )
        dashes = [_dashes(names)] if series else []
        layers.append(
            _of(points)
            .mark_line(color=ACCENT, strokeWidth=2, clip=True)
            .encode(x_axis, y_axis, *colour, *dashes)
        )
        if n_days <= 31:
            layers.append(
                _of(points)
                .mark_point(color=ACCENT, filled=True, size=22, opacity=1, clip=True)
                .encode(x_axis, y_axis, *colour)
            )
        return alt.layer(*layers)

    return both_widths(draw, label, y_title, wide=wide, height=HEIGHT)


def stacked_days(
    rows: Sequence[Row],
    label: str,
    *,
    day: str,
    parts: Sequence[tuple[str, str, str]],
    y_title: str,
) -> list[Markup]:
    """Draw counts by day as bars; a part is its key, its name and its colour."""
    counted = [
        {
            "date": row[day].isoformat(),
            "day": f"{row[day]:%-d %b}",
            "n": _plain(row[key]),
            "part": name,
            "place": place,
        }
        for row in rows
        for place, (key, name, _) in enumerate(parts)
    ]
    scale = alt.Scale(domain=[name for _, name, _ in parts], range=[c for _, _, c in parts])
    chart = alt.layer(
        _of(counted)
        .mark_bar(stroke=SURFACE, strokeWidth=0.5)
        .encode(
            _bands(row[day] for row in rows),
            alt.Y("n:Q", title=None, stack="zero", axis=alt.Axis(format="~s", tickCount=5)),
            alt.Color("part:N", scale=scale, title=None),
            alt.Order("place:Q"),
        )
    )
    return both_widths(lambda _: chart, label, y_title, wide=False, height=HEIGHT)


def intervals(
    rows: Sequence[Row],
    label: str,
    *,
    name: str,
    keys: tuple[str, str, str],
    x: tuple[str, str],
    form: words.Form,
    tone: Callable[[Row], str] = lambda row: ACCENT,
    zero_line: bool = True,
) -> list[Markup]:
    """Draw one row's value and its interval under the other; `keys` are value, lower and upper."""
    value, lower, upper = keys
    x_title, x_format = x
    data = [
        {
            "name": str(row[name]),
            "text": f"{form(row[value])} ({words.interval(row[lower], row[upper], form)})",
            "x": _plain(row[value]),
            "lower": _plain(row[lower]),
            "upper": _plain(row[upper]),
            "tone": tone(row),
        }
        for row in rows
    ]
    scale = alt.Scale(zero=False, nice=True)
    x_axis = alt.X("x:Q", title=None, scale=scale, axis=_quiet(x_format))
    colour = alt.Color("tone:N", scale=None)
    layers = _named_lines(data)
    if zero_line:
        # Beside each line alone, so that it crosses no name.
        layers.append(
            _of([{"name": row["name"], "x": 0} for row in data])
            .mark_tick(color=MUTED, thickness=1, height={"band": 0.5}, yOffset=LINE_BELOW)
            .encode(x_axis, _lines())
        )
    layers += [
        _of([row for row in data if row["lower"] is not None and row["upper"] is not None])
        .mark_rule(strokeWidth=2, yOffset=LINE_BELOW)
        .encode(alt.X("lower:Q", title=None, scale=scale), alt.X2("upper:Q"), _lines(), colour),
        _of(data)
        .mark_point(filled=True, size=70, opacity=1, yOffset=LINE_BELOW)
        .encode(x_axis, _lines(), colour),
    ]
    height = 50 + LINE * len(data)
    return both_widths(lambda _: alt.layer(*layers), label, x_title, wide=False, height=height)


def upright_intervals(
    rows: Sequence[Row],
    label: str,
    *,
    name: tuple[str, str],
    keys: tuple[str, str, str],
    y: tuple[str, str],
) -> list[Markup]:
    """Draw one row's value and its interval beside the other, in the order of rows."""
    value, lower, upper = keys
    y_title, y_format = y
    bars = [
        {
            "name": str(row[name[0]]),
            "y": _plain(row[value]),
            "lower": _plain(row[lower]),
            "upper": _plain(row[upper]),
        }
        for row in rows
    ]
    x_axis = alt.X("name:N", title=name[1], sort=None, axis=alt.Axis(labelAngle=0))
    scale = alt.Scale(zero=False, nice=True)
    y_axis = alt.Y("y:Q", title=None, scale=scale, axis=alt.Axis(format=y_format, tickCount=5))
    chart = alt.layer(
        _zero(alt.Y("y:Q", scale=scale)),
        _of([bar for bar in bars if bar["lower"] is not None])
        .mark_rule(color=ACCENT, strokeWidth=2)
        .encode(x_axis, alt.Y("lower:Q", title=None, scale=scale), alt.Y2("upper:Q")),
        _of(bars).mark_point(color=ACCENT, filled=True, size=70, opacity=1).encode(x_axis, y_axis),
    )
    return both_widths(lambda _: chart, label, y_title, wide=False, height=HEIGHT)


def bars(
    rows: Sequence[Row],
    label: str,
    *,
    name: str,
    value: str,
    x: tuple[str, str],
    form: words.Form,
    deviation: str | None = None,
    beside: str | None = None,
) -> list[Markup]:
    """Draw one bar a row, with its standard deviation; `beside` is what it was before, a tick."""
    x_title, x_format = x
    data = [
        {
            "name": str(row[name]),
            "text": form(row[value]),
            "x": _plain(row[value]),
            "spread": _plain(row[deviation]) if deviation else None,
            "before": _plain(row[beside]) if beside else None,
        }
        for row in rows
    ]
    x_axis = alt.X("x:Q", title=None, axis=_quiet(x_format))
    base = _of(data)
    layers = [
        *_named_lines(data),
        base.mark_bar(
            color=ACCENT, height={"band": 0.28}, cornerRadiusEnd=2, yOffset=LINE_BELOW
        ).encode(x_axis, _lines()),
    ]
    if deviation:
        layers.append(
            base.mark_rule(color=INK, strokeWidth=1.2, yOffset=LINE_BELOW)
            .transform_calculate(a="datum.x - datum.spread", b="datum.x + datum.spread")
            .encode(alt.X("a:Q", title=None), alt.X2("b:Q"), _lines())
        )
    if beside:
        layers.append(
            base.mark_tick(
                color=SECOND, thickness=3, height={"band": 0.42}, yOffset=LINE_BELOW
            ).encode(alt.X("before:Q", title=None), _lines())
        )
    height = 50 + LINE * len(data)
    return both_widths(lambda _: alt.layer(*layers), label, x_title, wide=False, height=height)


def waterfall(steps: Sequence[Row], label: str, *, y: tuple[str, str]) -> list[Markup]:
    """Draw steps from one height to the next: name, from, to, lower, upper, tone."""
    y_title, y_format = y
    data = [{key: _plain(value) for key, value in step.items()} for step in steps]
    x_axis = alt.X("name:N", title=None, sort=None, axis=alt.Axis(labelAngle=0, labelColor=INK))
    y_axis = alt.Y("from:Q", title=None, axis=alt.Axis(format=y_format, tickCount=5))
    chart = alt.layer(
        _of(data)
        .mark_bar(size=54)
        .encode(x_axis, y_axis, alt.Y2("to:Q"), alt.Color("tone:N", scale=None)),
        _of([step for step in data if step["lower"] is not None])
        .mark_rule(color=INK, strokeWidth=1.5)
        .encode(x_axis, alt.Y("lower:Q", title=None), alt.Y2("upper:Q")),
        _zero(alt.Y("y:Q")),
    )
    return both_widths(lambda _: chart, label, y_title, wide=False, height=HEIGHT)


def matrix(
    cells: Sequence[Row],
    label: str,
    *,
    x_title: str,
    y_title: str,
    height: int = HEIGHT,
    wide: bool = False,
) -> list[Markup]:
    """Draw cells: x, y, what is written in them, their tone and how strong it is, in [0, 1]."""
    base = _of(list(cells))
    x_axis = alt.X(
        "x:N",
        title=x_title or None,
        sort=None,
        axis=alt.Axis(labelAngle=0, labelColor=INK, domain=False, ticks=False, orient="top"),
    )
    y_axis = alt.Y(
        "y:N",
        title=None,
        sort=None,
        axis=alt.Axis(labelColor=INK, domain=False, ticks=False, labelLimit=150),
    )
    chart = alt.layer(
        base.mark_rect(stroke=SURFACE, strokeWidth=3, cornerRadius=4).encode(
            x_axis,
            y_axis,
            alt.Color("tone:N", scale=None),
            alt.Opacity(
                "strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.12, 0.6]), legend=None
            ),
        ),
        base.mark_text(fontSize=13, fontWeight=600).encode(x_axis, y_axis, alt.Text("text:N")),
    )
    return both_widths(lambda _: chart, label, y_title, wide=wide, height=height)


def drift_map(
    rows: Sequence[Row],
    label: str,
    *,
    day: str,
    name: str,
    level: str,
    levels: Sequence[tuple[str, str, float]],
    y_title: str,
) -> list[Markup]:
    """Draw one strip of days a name, in the colour of its level: name, colour and opacity."""
    data = [
        {
            "date": row[day].isoformat(),
            "day": f"{row[day]:%-d %b}",
            "name": str(row[name]),
            "level": row[level],
        }
        for row in rows
    ]
    names = [title for title, _, _ in levels]
    colours = alt.Scale(domain=names, range=[colour for _, colour, _ in levels])
    opacities = alt.Scale(domain=names, range=[opacity for _, _, opacity in levels])

    def draw(width: int) -> alt.LayerChart:
        return alt.layer(
            _of(data)
            .mark_rect(stroke=SURFACE, strokeWidth=0.5, height={"band": 0.8})
            .encode(
                _bands((row[day] for row in rows), 8 if width == WIDE else 4),
                alt.Y(
                    "name:N",
                    title=None,
                    sort=None,
                    axis=alt.Axis(
                        labelColor=INK,
                        domain=False,
                        ticks=False,
                        labelLimit=220 if width == WIDE else 130,
                    ),
                ),
                alt.Color("level:N", scale=colours, title=None),
                alt.Opacity("level:N", scale=opacities, title=None),
            )
        )

    height = 76 + 22 * max(2, len({row["name"] for row in data}))
    return both_widths(draw, label, y_title, wide=True, height=height)


def _of(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _heights(rows: Sequence[Row], *keys: str) -> alt.Scale:
    """Return a scale that holds the values; one value alone stands in the middle of it."""
    values = {row[key] for row in rows for key in keys if row[key] is not None}
    if len(values) != 1:
        return alt.Scale(zero=False, nice=True)
    (value,) = values
    room = abs(value) or 1
    return alt.Scale(domain=[_plain(value - room), _plain(value + room)])


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _days(key: str, n_ticks: int) -> alt.X:
    return alt.X(
        f"{key}:T",
        title="day",
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(format="%-d %b", tickCount=n_ticks, grid=False),
    )


def _bands(days: Iterable[date], n_ticks: int = 4) -> alt.X:
    """Return the axis of days as bands: a few stand side by side, whatever lies between them."""
    if len(set(days)) <= FEW_DAYS:
        return alt.X("day:O", title="day", sort=None, axis=alt.Axis(labelAngle=0))
    return _days("date", n_ticks).timeUnit("utcyearmonthdate")


def _quiet(number_format: str) -> alt.Axis:
    """Return an axis without a grid, which would cross the names."""
    return alt.Axis(format=number_format, tickCount=5, grid=False)


def _lines() -> alt.Y:
    return alt.Y("name:N", title=None, sort=None, axis=None)


def _named_lines(data: Sequence[Row]) -> list[alt.Chart]:
    """Write each row's name and number above its line, where the longest name has room."""
    base = _of(data)
    above = {"yOffset": NAME_ABOVE, "baseline": "middle"}
    return [
        base.mark_text(align="left", limit=230, **above).encode(
            _lines(), alt.Text("name:N"), x=alt.value(0)
        ),
        base.mark_text(align="right", color=MUTED, **above).encode(
            _lines(), alt.Text("text:N"), x=alt.value("width")
        ),
    ]


def _zero(axis: alt.X | alt.Y) -> alt.Chart:
    key = "x" if isinstance(axis, alt.X) else "y"
    return _of([{key: 0}]).mark_rule(color=MUTED, strokeWidth=1).encode(axis)


def _colours(names: Sequence[str]) -> alt.Color:
    scale = alt.Scale(domain=list(names), range=list(SERIES[: len(names)]))
    return alt.Color("series:N", scale=scale, title=None)


def _dashes(names: Sequence[str]) -> alt.StrokeDash:
    scale = alt.Scale(domain=list(names), range=list(DASHES[: len(names)]))
    return alt.StrokeDash("series:N", scale=scale, title=None)
