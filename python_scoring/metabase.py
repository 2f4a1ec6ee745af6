"""Metabase as code: the files of dashboards/metabase, carried over by Metabase's own REST API.

Safe to repeat: what is there by name is brought up to date, what is missing is made, and what
people made themselves is left alone.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from python_scoring.errors import LeadlightError

FOLDER = Path("dashboards", "metabase")
# The database and the collection both carry it in Metabase.
NAME = "leadlight"
REFRESH_SECONDS = 60


class Metabase:
    """A client of the few endpoints that provisioning needs."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session: str | None = None

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call an endpoint and return what it answers.

        Raises:
            LeadlightError: nobody answers, or Metabase refuses.
        """
        headers = {"Content-Type": "application/json"}
        if self._session is not None:
            headers["X-Metabase-Session"] = self._session
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            said = error.read(500).decode(errors="replace")
            raise LeadlightError(
                f"Metabase refused {method} {path} with {error.code}: {said}"
            ) from error
        except (OSError, ValueError) as error:
            raise LeadlightError(
                f"no Metabase answers at {self.url} ({error}): is it running, and is "
                "METABASE_URL its address?"
            ) from error

    def sign_in(self, email: str, password: str) -> bool:
        """Sign in, on a fresh Metabase as its first user; return whether it was a fresh one."""
        properties = self.call("GET", "/api/session/properties")
        is_fresh = not properties["has-user-setup"]
        if is_fresh:
            user = {"email": email, "password": password, "first_name": NAME, "last_name": "admin"}
            body = {
                "token": properties["setup-token"],
                "user": user,
                "prefs": {"site_name": NAME, "allow_tracking": False},
            }
            self._session = self.call("POST", "/api/setup", body)["id"]
        else:
            body = {"username": email, "password": password}
            self._session = self.call("POST", "/api/session", body)["id"]
        return is_fresh

    def save(self, path: str, known: dict[str, int], name: str, body: dict[str, Any]) -> int:
        """Bring up to date what has this name, or make it; return its number."""
        if name in known:
            self.call("PUT", f"{path}/{known[name]}", {"name": name, **body})
        else:
            known[name] = self.call("POST", path, {"name": name, **body})["id"]
        return known[name]


def read_definitions(project_dir: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the filters by name, and the dashboards, as their files say."""
    paths = sorted((project_dir / FOLDER).glob("*.yml"))
    found = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    filters = found.pop("filters")
    return filters, list(found.values())


def provision(metabase: Metabase, project_dir: Path, connection: dict[str, Any]) -> dict[str, str]:
    """Make or update database, collection, questions and dashboards.

    Args:
        metabase: The client, signed in.
        project_dir: Where the definitions are.
        connection: How Metabase reaches the database: host, port, dbname, user, password, ssl.

    Returns:
        The address of each dashboard by its name; it refreshes itself every minute.
    """
    filters, dashboards = read_definitions(project_dir)

    databases = {row["name"]: row["id"] for row in metabase.call("GET", "/api/database")["data"]}
    body = {"engine": "postgres", "details": connection}
    database = metabase.save("/api/database", databases, NAME, body)

    collections = {
        row["name"]: row["id"]
        for row in metabase.call("GET", "/api/collection")
        if not row.get("archived") and row["id"] != "root"
    }
    body = {"description": "Made from dashboards/metabase; what is changed here is overwritten."}
    collection = metabase.save("/api/collection", collections, NAME, body)

    cards = _items(metabase, collection, "card")
    values = {
        name: metabase.save(
            "/api/card",
            cards,
            f"Values of {name}",
            _card(
                {
                    "description": f"What can be chosen as {chosen['label'].lower()}.",
                    "display": "table",
                    "sql": chosen["sql"],
                },
                {},
                database,
                collection,
            ),
        )
        for name, chosen in filters.items()
    }
    known = _items(metabase, collection, "dashboard")
    links = {}
    for dashboard in dashboards:
        questions = dashboard["questions"]
        ids = [
            metabase.save(
                "/api/card",
                cards,
                question["name"],
                _card(question, filters, database, collection),
            )
            for question in questions
        ]
        about = {"description": dashboard["description"], "collection_id": collection}
        number = metabase.save("/api/dashboard", known, dashboard["name"], about)
        link = f"/dashboard/{number}#refresh={REFRESH_SECONDS}"
        links[dashboard["name"]] = metabase.url + link
        present = metabase.call("GET", f"/api/dashboard/{number}")["dashcards"]
        metabase.call(
            "PUT",
            f"/api/dashboard/{number}",
            {
                "parameters": [
                    _parameter(name, filters[name], values[name]) for name in dashboard["filters"]
                ],
                "dashcards": _dashcards(questions, ids, dashboard, link, present),
            },
        )
    return links


def _items(metabase: Metabase, collection: int, model: str) -> dict[str, int]:
    """Return what a collection holds of a kind: numbers by name."""
    path = f"/api/collection/{collection}/items?models={model}"
    return {row["name"]: row["id"] for row in metabase.call("GET", path)["data"]}


def tags_of(query: str) -> list[str]:
    """Return the filters that a query names, each once, in their order."""
    return list(dict.fromkeys(re.findall(r"\{\{(\w+)\}\}", query)))


def _card(
    question: dict[str, Any], filters: dict[str, Any], database: int, collection: int
) -> dict[str, Any]:
    """Return a question as Metabase takes it."""
    tags = {}
    for name in tags_of(question["sql"]):
        tags[name] = {
            "id": name,
            "name": name,
            "display-name": filters[name]["label"],
            "type": "text",
        }
        if "default" in filters[name]:
            tags[name] |= {"default": filters[name]["default"], "required": True}
    return {
        "description": question["description"].strip(),
        "collection_id": collection,
        "display": question["display"],
        "visualization_settings": question.get("settings", {}),
        "dataset_query": {
            "type": "native",
            "database": database,
            "native": {"query": question["sql"], "template-tags": tags},
        },
    }


def _parameter(name: str, chosen: dict[str, Any], card: int) -> dict[str, Any]:
    """Return a filter above a dashboard: one value of the list that a question gives."""
    parameter = {
        "id": name,
        "slug": name,
        "name": chosen["label"],
        "type": "string/=",
        "sectionId": "string",
        "isMultiSelect": False,
        "values_query_type": "list",
        "values_source_type": "card",
        "values_source_config": {
            "card_id": card,
            "value_field": ["field", name, {"base-type": "type/Text"}],
        },
    }
    if "default" in chosen:
        parameter |= {"default": [chosen["default"]], "required": True}
    return parameter


def _dashcards(
    questions: list[dict[str, Any]],
    ids: list[int],
    dashboard: dict[str, Any],
    link: str,
    present: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return what stands on a dashboard; what stands there already keeps its number."""
    numbers = {row["card_id"]: row["id"] for row in present}
    text = f"{dashboard['description'].strip()} [Refresh every minute]({link})."
    heading = {
        "card_id": None,
        "visualization_settings": {"virtual_card": {"display": "text"}, "text": text},
        "parameter_mappings": [],
        **_place([0, 0, 24, 1]),
    }
    found = [heading]
    for question, card in zip(questions, ids, strict=True):
        mappings = [
            {"parameter_id": name, "card_id": card, "target": ["variable", ["template-tag", name]]}
            for name in tags_of(question["sql"])
        ]
        found.append({"card_id": card, "parameter_mappings": mappings, **_place(question["place"])})
    # A negative number stands for one that Metabase is to make.
    return [
        {"id": numbers.get(row["card_id"], -position), **row}
        for position, row in enumerate(found, start=1)
    ]


def _place(place: list[int]) -> dict[str, int]:
    return dict(zip(("row", "col", "size_x", "size_y"), place, strict=True))
