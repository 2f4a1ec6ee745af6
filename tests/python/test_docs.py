"""The docs site: everything is described, and its one page works in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import open_page
from helpers import PROJECT_DIR, done

from python_scoring.settings import Settings


@pytest.fixture(scope="module")
def site(simulated: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, of a built database; what dbt writes for it stands beside it."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(folder))
        page = folder / "static_index.html"
        assert done(simulated, "docs").strip() == str(page)
    return page


def artifact(site: Path, name: str) -> dict[str, Any]:
    return json.loads(site.with_name(f"{name}.json").read_text())


@pytest.fixture(scope="module")
def manifest(site: Path) -> dict[str, Any]:
    return artifact(site, "manifest")


def own(nodes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {key: node for key, node in nodes.items() if node["package_name"] == "leadlight"}


# What is said ----------------------------------------------------------------------------------


def test_everything_is_described(manifest: dict[str, Any]) -> None:
    kinds = ("model", "seed", "analysis")
    nodes = {
        key: node for key, node in own(manifest["nodes"]).items() if node["resource_type"] in kinds
    }
    sources, macros, exposures = (own(manifest[n]) for n in ("sources", "macros", "exposures"))
    for described, at_least in ((nodes, 100), (sources, 9), (macros, 50), (exposures, 4)):
        assert len(described) >= at_least
        assert [key for key, node in described.items() if not node["description"]] == []
    for macro in macros.values():
        assert all(argument["description"] for argument in macro["arguments"]), macro["name"]


def test_every_column_of_the_database_is_described(site: Path, manifest: dict[str, Any]) -> None:
    catalog = artifact(site, "catalog")
    assert catalog["errors"] is None
    built = own_relations = 0
    missing = []
    for kind in ("nodes", "sources"):
        own_relations += sum(
            node["resource_type"] in ("model", "seed", "source")
            for node in own(manifest[kind]).values()
        )
        for key, relation in catalog[kind].items():
            built += 1
            columns = manifest[kind][key]["columns"]
            missing += [
                f"{key}.{name}"
                for name in relation["columns"]
                if not columns.get(name, {}).get("description")
            ]
            # And none is described that is not there.
            assert set(columns) <= set(relation["columns"]), key
    assert built == own_relations
    assert missing == []


def test_links_of_the_overview_lead_somewhere(manifest: dict[str, Any]) -> None:
    overview = (PROJECT_DIR / "models" / "overview.md").read_text()
    linked = re.findall(r"\[(\w+)\]\(#!/model/([\w.]+)\)", overview)
    assert len(linked) > 10
    for name, key in linked:
        assert manifest["nodes"][key]["name"] == name
        assert manifest["nodes"][key]["access"] == "public"


# What is seen ----------------------------------------------------------------------------------

PLACES = {
    "overview": ("Where to begin", "fct_alerts", "Pending labels"),
    "model/model.leadlight.fct_confusion_matrix_daily": ("n_true_positives", "bigint"),
    "model/model.leadlight.int_events": ("Columns", "user_id"),
    "source/source.leadlight.tracking.events": ("delivery_id", "Landing is permissive"),
    "seed/seed.leadlight.alert_rules": ("fires_when", "One row per rule"),
    "macro/macro.leadlight.wilson_bound": ("successes", "Arguments"),
    "exposure/exposure.leadlight.coupon_export": ("Marketing", "fct_coupon_offers"),
    "analysis/analysis.leadlight.whom_to_call_first": ("tenth", "expected_orders"),
}


def test_page_works_without_a_complaint(site: Path, tmp_path: Path) -> None:
    with open_page(site, 1440) as page:
        for place, words in PLACES.items():
            page.run(f"location.hash = '#!/{place}'")
            for word in words:
                seen = f"document.body.innerText.toLowerCase().includes({json.dumps(word.lower())})"
                page.wait_for(seen)
        # Nothing else is fetched, from wherever it is opened.
        assert page.run("return performance.getEntriesByType('resource').length") == 0
        assert page.errors() == []
        page.screenshot(tmp_path / "docs.png")
    assert (tmp_path / "docs.png").stat().st_size > 20_000


def test_lineage_is_drawn_of_models_alone(site: Path) -> None:
    with open_page(site, 1440) as page:
        page.run("location.hash = '#!/model/model.leadlight.fct_alerts'")
        page.wait_for("document.querySelector('[ng-click*=LauncherClick]')")
        page.run("document.querySelector('[ng-click*=LauncherClick]').click()")
        page.wait_for("document.querySelector('canvas')?.width > 100")
        named = page.run(
            "const graph = angular.element(document.body).injector().get('graph');"
            "return graph.graph.elements.filter(e => e.group == 'nodes' || e.data.name)"
            ".map(e => e.data.name || e.data.label)"
        )
        assert {"fct_alerts", "int_alert_measurements"} <= set(named)
        assert not [name for name in named if "a_rule_asks" in str(name)]
        assert page.errors() == []


# The helper ------------------------------------------------------------------------------------


def test_complaints_of_a_page_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "broken.html"
    path.write_text(
        "<meta name=viewport content='width=device-width'><p>words</p>"
        "<img src='nowhere.png'><script>console.error('I object');</script>"
        "<script>setTimeout(() => undefinedFunction(), 0);</script>"
    )
    with open_page(path, 390) as page:
        page.wait_for("document.readyState == 'complete'")
        page.run("return new Promise(done => setTimeout(done, 200))")
        heard = " ".join(page.errors())
        for part in ("nowhere.png", "I object", "undefinedFunction"):
            assert part in heard
        assert page.run("return innerWidth") == 390
        assert page.text().strip() == "words"
