"""The page for somebody who has no dashboard: what it shows, holds and survives."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html import escape, unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers import (
    EXPERIMENTS,
    PROJECT_DIR,
    TASKS,
    assert_one_line,
    done,
    execute,
    fetch_dicts,
    fetch_value,
    leadlight,
)

from python_scoring import cli
from python_scoring.report import charts, page, words
from python_scoring.settings import Settings

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('\"&')</script>"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PHONE, DESK = 390, 1440
# A window is never narrower than 500 pixels; a frame is as narrow as one likes.
FRAME = """<!DOCTYPE html>
<html><body>
<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const frame = document.querySelector("iframe").contentWindow;
  for (const details of frame.document.querySelectorAll("details")) details.open = true;
  const measured = [frame.innerWidth, frame.document.documentElement.scrollWidth];
  document.body.dataset.measured = measured.join(" ");
}};
</script>
</body></html>
"""


class Page:
    """A report, parsed strictly: it is well-formed XML, and so are its drawings."""

    def __init__(self, html: str) -> None:
        self.html = html
        self.root = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))

    def text(self, anchor: str | None = None) -> str:
        """What stands on the page, or in one of its sections, without the spaces around it."""
        root = self.root if anchor is None else self.root.find(f".//section[@id='{anchor}']")
        assert root is not None, anchor
        return " ".join("".join(root.itertext()).split())

    def table(self, anchor: str, title: str) -> list[dict[str, str]]:
        """The numbers behind a figure, each row by the headings of its columns."""
        (figure,) = (
            figure
            for figure in self.root.findall(f".//section[@id='{anchor}']//article")
            if figure.findtext("h5") == title
        )
        headings = [cell.text for cell in figure.iterfind(".//th")]
        return [
            dict(zip(headings, (cell.text or "" for cell in row), strict=True))
            for row in figure.iterfind(".//tbody/tr")
        ]


def write(settings: Settings, path: Path, *arguments: str) -> Page:
    said = done(settings, "report", "--out", str(path), *arguments)
    assert said == f"report: {path}\n"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(simulated: Settings, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of the simulated businesses."""
    return write(simulated, tmp_path_factory.mktemp("report") / "whole.html")


@pytest.fixture(scope="module")
def empty_build(make_database: Callable[[str], Settings], dbt_folders: None) -> Settings:
    """A database in which everything was built on empty landing tables."""
    settings = make_database("nothing")
    cli.run_loop(settings, ("pre", "post"), None, full_refresh=False)
    return settings


def test_page_stands_by_itself(whole: Page) -> None:
    assert whole.html.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert not list(whole.root.iter("script"))
    # Names of namespaces apart, nothing points outside of the page.
    loads = [
        (element.tag, name, value)
        for element in whole.root.iter()
        for name, value in element.attrib.items()
        if name.split("}")[-1] in ("src", "href", "srcset", "action", "data")
        and not value.startswith("#")
    ]
    assert not loads
    assert not re.search(r"@import|url\((?!#)", whole.html)
    assert not [name for e in whole.root.iter() for name in e.attrib if name.startswith("on")]


def test_names_within_the_page_are_unique_and_found(whole: Page) -> None:
    ids = [element.attrib["id"] for element in whole.root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    links = [link.attrib["href"].removeprefix("#") for link in whole.root.iter("a")]
    drawn = re.findall(r"url\(#([^)]+)\)", whole.html)
    assert links
    assert not {*links, *drawn} - set(ids)
    contents = {link.attrib["href"] for link in whole.root.find(".//nav").iter("a")}
    for task in TASKS:
        assert f"#task-{task}" in contents
    for name, experiment in EXPERIMENTS.items():
        for arm in set(experiment["arms"]) - {experiment["control_arm"]}:
            assert f"#experiment-{name}-{arm}" in contents


def test_each_chart_has_a_sentence_a_table_and_a_name(whole: Page) -> None:
    names = set()
    n_charts = 0
    for figure in whole.root.iter("article"):
        title = figure.findtext("h5")
        if "without" in figure.attrib["class"].split():
            assert figure.findtext("p").endswith("."), title
            continue
        caption = "".join(figure.find("figure/figcaption").itertext())
        assert 40 < len(caption) < 330 and caption.endswith("."), title
        assert figure.find(".//tbody/tr/td") is not None, title
        for drawing in figure.iter(f"{SVG}svg"):
            n_charts += 1
            assert drawing.attrib["role"] == "img"
            names.add((drawing.attrib["aria-label"], drawing.attrib["viewBox"]))
            # It is as wide as its place, and its colours are those of the page.
            assert not {"width", "height"} & set(drawing.attrib)
            colours = {
                value
                for element in drawing.iter()
                for name, value in element.attrib.items()
                if name in ("fill", "stroke")
            }
            assert colours <= {*charts.VARIABLES.values(), "none", "transparent"}, title
    assert n_charts == len(names) > 80


def test_style_knows_every_colour_in_both_themes() -> None:
    style = (PROJECT_DIR / "python_scoring" / "report" / "style.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for variable in charts.VARIABLES.values():
        name = variable.removeprefix("var(").removesuffix(")")
        assert f"{name}: #" in light
        assert f"{name}: #" in dark.split("}")[0]


def test_every_kind_of_figure_is_drawn(whole: Page) -> None:
    drawn = {
        figure.findtext("h5")
        for figure in whole.root.iter("article")
        if figure.find(f".//{SVG}svg") is not None
    }
    assert drawn >= {
        "ROC curve",
        "Precision and recall",
        "Confusion matrix",
        "Calibration",
        "Promised and come true, by day",
        "ROC AUC by slice",
        "ROC AUC by day of prediction",
        "Outcomes known and pending",
        "Threshold against money",
        "Drift of the features",
        "Drift of the scores",
        "What it relies on",
        "How far off, by day",
        "Bias by day",
        "What the segments are like",
        "Sizes of the segments",
        "How well they are set apart",
        "Uplift in conversion so far",
        "Effect on conversion, by estimator",
        "Effect on net money, by estimator",
        "From margin to net money",
        "Money by share targeted",
        "Uplift by tenth of the score",
        "Uplift by week of assignment",
        "Qini curve",
        "How far the offer went",
        "Guardrails",
        "At the threshold, without a holdout",
    }


def test_numbers_are_those_of_the_marts(simulated: Settings, whole: Page) -> None:
    (money,) = fetch_dicts(simulated, "select * from leadlight_metrics.fct_coupon_money")
    anchor = f"experiment-{money['experiment']}-{money['arm']}"
    text = whole.text(anchor)
    assert f"Net money so far{words.whole_gain(money['net_money'])}" in text
    assert words.whole_gain(money["net_money"]) in whole.text("overview")
    rows = {row["money"]: row for row in whole.table(anchor, "From margin to net money")}
    assert rows["net money"] == {
        "money": "net money",
        "so far": words.money(money["net_money"]),
        "from": words.money(money["net_money_lower"]),
        "to": words.money(money["net_money_upper"]),
    }

    (decision,) = fetch_dicts(
        simulated,
        "select distinct decision, decision_reason from leadlight_metrics.fct_coupon_uplift "
        "where slice_name = 'all'",
    )
    assert decision["decision"] in whole.text("overview")
    assert decision["decision_reason"] in whole.text("overview")

    checks = whole.table(anchor, "Checks")
    assert len(checks) == fetch_value(
        simulated, "select count(*) from leadlight_metrics.fct_experiment_checks"
    )

    (metrics,) = fetch_dicts(
        simulated,
        "select * from leadlight_metrics.fct_classifier_metrics where task = 'lead_conversion' "
        "and model_version = 'v1' and run_kind = 'live' and slice_name = 'all' "
        "and window_name = 'all_time'",
    )
    text = whole.text("task-lead_conversion")
    assert f"{metrics['n_mature']:,} with a known outcome" in text
    assert f"ROC AUC{words.decimal(metrics['roc_auc'])}" in text
    matrix = whole.table("task-lead_conversion", "Confusion matrix")
    assert [row["predictions"] for row in matrix] == [
        f"{metrics[f'n_{name}']:,}"
        for name in ("true_positives", "false_positives", "false_negatives", "true_negatives")
    ]

    alerts = fetch_dicts(simulated, "select * from leadlight_metrics.fct_alerts")
    overview = whole.text("overview")
    assert alerts
    for alert in alerts:
        assert f"{alert['message']}since {alert['since_date']}" in overview


def test_a_long_table_keeps_the_points_that_are_marked(whole: Page, simulated: Settings) -> None:
    n_points, threshold = fetch_dicts(
        simulated,
        "select count(*) as n, max(threshold) filter (where is_in_force) as threshold "
        "from leadlight_metrics.fct_threshold_curve where task = 'lead_conversion' "
        "and model_version = 'v1' and run_kind = 'live' and window_name = 'all_time'",
    )[0].values()
    rows = whole.table("task-lead_conversion", "ROC curve")
    assert len(rows) < 60 < n_points
    assert f"{len(rows)} of {n_points:,} rows" in whole.text("task-lead_conversion")
    assert [row["threshold"] for row in rows if row["in force"] == "yes"] == [
        words.decimal(threshold)
    ]


def test_what_is_shown_is_said(simulated: Settings, whole: Page) -> None:
    for task in TASKS:
        text = whole.text(f"task-{task}")
        kinds = [kind for kind in ("live predictions", "the backtest") if f"Shown: {kind}" in text]
        if TASKS[task]["kind"] == "clustering":
            assert "live predictions of v1" in text
            continue
        n_live = fetch_value(
            simulated,
            "select coalesce(sum(n_mature), 0) from leadlight_metrics.fct_label_maturity "
            "where task = %s and model_version = 'v1' and run_kind = 'live'",
            [task],
        )
        assert kinds == ["live predictions" if n_live >= 100 else "the backtest"], task


def test_one_task_shows_its_own_and_what_it_drives(simulated: Settings, tmp_path: Path) -> None:
    driving = write(simulated, tmp_path / "driving.html", "--task", "lead_conversion")
    sections = {section.attrib["id"] for section in driving.root.iter("section")}
    assert sections == {"overview", "task-lead_conversion", "experiment-lead_coupon-coupon"}
    assert "customer_churn" not in driving.text()

    other = write(simulated, tmp_path / "other.html", "--task", "customer_persona")
    sections = {section.attrib["id"] for section in other.root.iter("section")}
    assert sections == {"overview", "task-customer_persona"}


def test_hostile_names_are_text(
    simulated: Settings, copy_database: Callable[[Settings, str], Settings], tmp_path: Path
) -> None:
    settings = copy_database(simulated, "hostile")
    for table, column in (
        ("leadlight_metrics.fct_alerts", "message"),
        ("leadlight_metrics.fct_experiment_checks", "finding"),
        ("leadlight_metrics.fct_experiment_guardrails", "event_type"),
        ("leadlight_shared.dim_prediction_tasks", "description"),
        ("leadlight_shared.dim_experiments", "description"),
        ("leadlight_models.fct_segment_profiles", "segment_name"),
    ):
        execute(settings, f"update {table} set {column} = %s", [HOSTILE])
    for table in ("fct_feature_importances", "fct_partial_dependence"):
        execute(
            settings,
            f"update leadlight_models.{table} set feature = %s || feature "
            "where task = 'lead_conversion'",
            [HOSTILE],
        )
    execute(
        settings,
        "update leadlight_metrics.fct_classifier_metrics set slice_value = %s || slice_value "
        "where slice_name <> 'all'",
        [HOSTILE],
    )
    hostile = write(settings, tmp_path / "hostile.html")
    assert not list(hostile.root.iter("script"))
    assert not list(hostile.root.iter(f"{SVG}script"))
    assert "<script" not in hostile.html
    for anchor in ("overview", "task-lead_conversion", "experiment-lead_coupon-coupon"):
        assert HOSTILE in hostile.text(anchor)
    assert HOSTILE in unescape(hostile.html)
    drawn = [
        "".join(text.itertext())
        for text in hostile.root.iter(f"{SVG}text")
        if "script" in "".join(text.itertext())
    ]
    assert drawn


def test_an_empty_build_says_what_to_do(empty_build: Settings, tmp_path: Path) -> None:
    nothing = write(empty_build, tmp_path / "nothing.html")
    overview = nothing.text("overview")
    for sentence in (
        "No model was trained yet: leadlight run trains",
        "Nothing was predicted live yet: leadlight run scores",
        "No experiment has assigned anybody yet",
    ):
        assert sentence in overview
    for task in TASKS:
        assert f"leadlight train --task {task} trains one." in nothing.text(f"task-{task}")
    for name in EXPERIMENTS:
        assert "Nobody has been assigned yet." in nothing.text(f"experiment-{name}-coupon")
    assert not list(nothing.root.iter("article"))


def test_mistakes_are_told_in_one_line(
    make_database: Callable[[str], Settings], empty_build: Settings, tmp_path: Path
) -> None:
    page_path = tmp_path / "page.html"
    result = leadlight(make_database("bare"), "report", "--out", str(page_path))
    assert_one_line(result, "dim_prediction_tasks", "run `leadlight init`, then `leadlight run`")

    result = leadlight(empty_build, "report", "--out", str(page_path), "--task", "nonsense")
    assert_one_line(result, "no task nonsense", "vars.prediction_tasks", "lead_conversion")

    result = leadlight(empty_build, "report", "--out", str(tmp_path / "no" / "page.html"))
    assert_one_line(result, f"cannot write {tmp_path / 'no' / 'page.html'}", "--out")

    result = leadlight(empty_build, "report", "--out", str(tmp_path))
    assert_one_line(result, f"cannot write {tmp_path}", "directory")
    assert not list(tmp_path.iterdir())


def test_a_page_that_fails_leaves_the_former_one(
    empty_build: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("the former one", encoding="utf-8")

    def fail(*arguments: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "render", fail)
    result = leadlight(empty_build, "report", "--out", str(path))
    assert_one_line(result, f"cannot write {path}: No space left on device")
    assert path.read_text(encoding="utf-8") == "the former one"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Callable[[str, int], tuple[int, int, list[str]]]]:
    """Return a function that opens a page: width of the window, of what is in it, complaints."""
    if CHROMIUM is None:
        pytest.skip("no chromium found: apt-get install chromium")

    def open_page(html: str, width: int) -> tuple[int, int, list[str]]:
        path = tmp_path / "measured.html"
        path.write_text(FRAME.format(width=width, page=escape(html)), encoding="utf-8")
        browser = subprocess.run(
            [
                CHROMIUM,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr"),
                *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,1000"),
                *("--dump-dom", path.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        measured = re.search(r'data-measured="(\d+) (\d+)"', browser.stdout)
        assert measured, browser.stderr
        complaints = [line for line in browser.stderr.splitlines() if "CONSOLE" in line]
        return int(measured[1]), int(measured[2]), complaints

    yield open_page


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_page_fits_its_window(
    whole: Page, browse: Callable[[str, int], tuple[int, int, list[str]]], width: int
) -> None:
    window, content, complaints = browse(whole.html, width)
    assert window == width
    assert content <= width
    assert not complaints


def test_browser_tells_a_page_that_does_not_fit(
    browse: Callable[[str, int], tuple[int, int, list[str]]],
) -> None:
    bad = "<html><body><p style='width: 1000px'>wide</p><script>console.error(1)</script></body>"
    window, content, complaints = browse(f"<!DOCTYPE html>{bad}</html>", PHONE)
    assert window == PHONE
    assert content > PHONE
    assert complaints
