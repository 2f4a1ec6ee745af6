"""The dbt docs site as one page, without the mistakes that dbt ships in it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

# A template that was never filled in: the browser asks for a file of that name.
UNFILLED_ICON = re.compile(r'<link rel="shortcut icon" href="\$\{require[^>]*/>')

# An icon whose address Angular fills in: the browser asks for the address before that.
UNFILLED_USE = 'xlink:href="{{ getIcon('
FILLED_USE = 'ng-attr-href="{{ getIcon('


def write_docs(settings: Settings) -> Path:
    """Write the site and return its page, which opens from disk and asks for nothing else."""
    run_dbt(settings, ["docs", "generate"])
    folder = Path(os.environ.get("DBT_TARGET_PATH") or settings.project_dir / "target")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    # Each would be a node of the lineage graph, and there are more of them than of models.
    manifest["unit_tests"] = {}
    catalog = json.loads((folder / "catalog.json").read_text(encoding="utf-8"))
    html = (folder / "index.html").read_text(encoding="utf-8")
    html = UNFILLED_ICON.sub("", html).replace(UNFILLED_USE, FILLED_USE)
    html = html.replace('"MANIFEST.JSON INLINE DATA"', _inlined(manifest))
    html = html.replace('"CATALOG.JSON INLINE DATA"', _inlined(catalog))
    page = folder / "static_index.html"
    page.write_text(html, encoding="utf-8")
    return page


def _inlined(content: Any) -> str:
    """Return JSON that may stand inside a script."""
    return json.dumps(content).replace("</", "<\\/")
