"""Metabase as code: the queries on a built database, the client on a stand-in for the server.

No Metabase runs here. The stand-in keeps what it is given, and takes and gives what the endpoints
of Metabase 0.63 do: which fields a body must and may have, was written down from its source.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import yaml
from helpers import (
    MART_SCHEMAS,
    PROJECT_DIR,
    assert_one_line,
    done,
    execute,
    fetch,
    fetch_dicts,
    leadlight,
    relations,
)

from python_scoring.errors import LeadlightError
from python_scoring.metabase import Metabase, provision, read_definitions, tags_of
from python_scoring.rights import READER
from python_scoring.settings import Settings

FILTERS, DASHBOARDS = read_definitions(PROJECT_DIR)
QUESTIONS = {
    f"{dashboard['name']}: {question['name']}": question
    for dashboard in DASHBOARDS
    for question in dashboard["questions"]
}
CopyDatabase = Callable[[Settings, str], Settings]


# The role that reads ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(
    simulated: Settings, copy_database: CopyDatabase, server: dict[str, str | int]
) -> Iterator[Settings]:
    """A built database in which the reader may read, with a second paying arm."""
    settings = copy_database(simulated, "read")
    add_an_arm(settings, "letter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLIGHT_READER_PASSWORD", "only to read")
        for _ in range(2):
            assert f"{READER} may read" in done(settings, "reader")
    yield settings
    # A role belongs to the whole server.
    execute(settings, f"drop owned by {READER}")
    execute(settings, f"drop role {READER}")


def add_an_arm(settings: Settings, name: str) -> None:
    """Have every mart say of another arm what it says of the paying one."""
    columns = fetch(
        settings,
        "select table_schema || '.' || table_name, array_agg(cast(column_name as text)) "
        "from information_schema.columns natural join information_schema.tables "
        "where table_schema = any(%s) and table_type = 'BASE TABLE' "
        "group by 1 having 'arm' = any(array_agg(cast(column_name as text)))",
        [list(MART_SCHEMAS)],
    )
    assert len(columns) > 8
    for mart, names in columns:
        values = ", ".join(f"'{name}'" if column == "arm" else column for column in names)
        execute(
            settings,
            f"insert into {mart} ({', '.join(names)}) select {values} from {mart} "
            "where arm = 'coupon'",
        )


@pytest.fixture(scope="module")
def as_reader(built: Settings) -> Settings:
    return replace(built, user=READER, password="only to read")


def test_reader_reads_every_mart_and_nothing_else(built: Settings, as_reader: Settings) -> None:
    marts = relations(built, MART_SCHEMAS)
    assert len(marts) > 30
    for name in marts:
        fetch(as_reader, f"select * from {name} limit 1")
    for name in ("tracking.events", "scoring.models", "leadlight_intermediate.int_events"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            fetch(as_reader, f"select * from {name} limit 1")
    for statement in (
        "delete from leadlight_metrics.fct_alerts",
        "create table leadlight_metrics.mine (a int)",
        "create table public.mine (a int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(as_reader, statement)


def test_reader_reads_what_is_built_later(built: Settings, as_reader: Settings) -> None:
    # A build replaces a table by a new one.
    execute(built, "create table leadlight_metrics.fct_later as select 1 as a")
    assert fetch(as_reader, "select * from fct_later") == [(1,)]
    execute(built, "drop table leadlight_metrics.fct_later")


def test_another_role_may_be_named_and_keeps_its_password(built: Settings) -> None:
    execute(built, "create role leadlight_analyst login password 'of her own'")
    try:
        query = "select rolpassword from pg_authid where rolname = 'leadlight_analyst'"
        before = fetch(built, query)
        done(built, "reader", "leadlight_analyst")
        assert fetch(built, query) == before
        analyst = replace(built, user="leadlight_analyst", password="of her own")
        assert fetch(analyst, "select count(*) from fct_alerts")
    finally:
        execute(built, "drop owned by leadlight_analyst")
        execute(built, "drop role leadlight_analyst")


# The queries -----------------------------------------------------------------------------------


def answers(settings: Settings, query: str, **values: str) -> list[dict[str, Any]]:
    """Run a query as Metabase does: optional parts without a value go, values are parameters."""
    given = {name: chosen["default"] for name, chosen in FILTERS.items() if "default" in chosen}
    given |= values

    def keep(match: re.Match) -> str:
        return match[1] if set(tags_of(match[1])) <= set(given) else ""

    query = re.sub(r"\[\[(.*?)\]\]", keep, query.replace("%", "%%"), flags=re.DOTALL)
    assert set(tags_of(query)) <= set(given), "a filter without a value"
    return fetch_dicts(settings, re.sub(r"\{\{(\w+)\}\}", r"%(\1)s", query), given)


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_answers_as_the_reader(as_reader: Settings, name: str) -> None:
    question = QUESTIONS[name]
    rows = answers(as_reader, question["sql"])
    assert rows
    settings = question.get("settings", {})
    drawn = [*settings.get("graph.dimensions", ()), *settings.get("graph.metrics", ())]
    assert bool(drawn) == (question["display"] != "table")
    drawn += [settings["scatter.bubble"]] if "scatter.bubble" in settings else []
    assert set(drawn) <= set(rows[0])
    # A chart has a point for each combination of its dimensions.
    dimensions = settings.get("graph.dimensions", ())
    points = Counter(tuple(row[dimension] for dimension in dimensions) for row in rows)
    assert not drawn or question["display"] == "scatter" or set(points.values()) == {1}


@pytest.mark.parametrize("name", [name for name in QUESTIONS if tags_of(QUESTIONS[name]["sql"])])
def test_filters_narrow_the_answer(as_reader: Settings, name: str) -> None:
    query = QUESTIONS[name]["sql"]
    everything = answers(as_reader, query)
    for tag in tags_of(query):
        values = [row[tag] for row in answers(as_reader, FILTERS[tag]["sql"])]
        assert values and len(set(values)) == len(values)
        by_value = {value: answers(as_reader, query, **{tag: value}) for value in values}
        if "default" in FILTERS[tag]:
            assert by_value[FILTERS[tag]["default"]] == everything
        for column in {"task": "task", "version": "model_version"}.get(tag, tag), "version":
            if everything and column in everything[0] and tag != "slice":
                for value, rows in by_value.items():
                    assert all(value in row[column] for row in rows), (tag, value)
        assert answers(as_reader, query, **{tag: "nothing of that name"}) == []


def test_slices_can_be_chosen(as_reader: Settings) -> None:
    question = QUESTIONS["Model health: Quality of the last 28 days"]["sql"]
    everybody = answers(as_reader, question, task="lead_conversion")
    phones = answers(as_reader, question, task="lead_conversion", slice="device=mobile")
    assert {row["model_version"] for row in phones} == {row["model_version"] for row in everybody}
    assert all(
        0 < phone["n_mature"] < every["n_mature"]
        for phone, every in zip(phones, everybody, strict=True)
    )


def test_metrics_and_slices_of_an_experiment_can_be_chosen(as_reader: Settings) -> None:
    slices = answers(as_reader, QUESTIONS["Coupon money: Uplift by slice"]["sql"])
    chosen = f"{slices[0]['slice_name']}={slices[0]['slice_value']}"
    question = QUESTIONS["Coupon money: Cumulative uplift"]["sql"]
    everybody = answers(as_reader, question)
    for values in ({"metric": "conversion"}, {"experiment_slice": chosen}):
        rows = answers(as_reader, question, **values)
        assert rows and rows != everybody, values


@pytest.mark.parametrize(
    "name", ["Cumulative uplift", "Uplift by tenth of the score", "Uplift by week"]
)
def test_each_of_several_arms_has_lines_of_its_own(as_reader: Settings, name: str) -> None:
    def points(**filters: str) -> Counter[str]:
        query = QUESTIONS[f"Coupon money: {name}"]["sql"]
        return Counter(row["series"] for row in answers(as_reader, query, **filters))

    coupon, letter = points(arm="coupon"), points(arm="letter")
    assert letter == {line.replace(" coupon:", " letter:"): n for line, n in coupon.items()}
    assert coupon and coupon + letter == points()


def test_assigned_so_far_ends_with_all_that_were_assigned(as_reader: Settings) -> None:
    rows = answers(as_reader, QUESTIONS["Coupon money: Assigned so far"]["sql"])
    last = max(row["assignment_date"] for row in rows)
    found = {row["series"]: row["n_assigned"] for row in rows if row["assignment_date"] == last}
    query = "select experiment || ' ' || arm, n_assigned from fct_coupon_compliance"
    assert found == dict(fetch(as_reader, query))


def test_dashboards_name_their_filters() -> None:
    for dashboard in DASHBOARDS:
        used = {tag for question in dashboard["questions"] for tag in tags_of(question["sql"])}
        assert used == set(dashboard["filters"]), dashboard["name"]
    assert {name for dashboard in DASHBOARDS for name in dashboard["filters"]} == set(FILTERS)


def test_questions_are_described_and_have_a_name_of_their_own() -> None:
    names = [question["name"] for question in QUESTIONS.values()]
    assert len(set(names)) == len(names)
    for question in QUESTIONS.values():
        assert len(question["description"]) > 40


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard["name"])
def test_cards_stand_side_by_side(dashboard: dict[str, Any]) -> None:
    taken = [(0, column) for column in range(24)]
    for question in dashboard["questions"]:
        row, column, width, height = question["place"]
        assert column + width <= 24
        taken += [(row + down, column + right) for down in range(height) for right in range(width)]
    assert max(Counter(taken).values()) == 1
    rows = {row for row, _ in taken}
    assert len(taken) == 24 * len(rows) == 24 * (max(rows) + 1), "a gap"


def test_exposures_name_what_the_dashboards_read() -> None:
    path = PROJECT_DIR / "models" / "exposures.yml"
    exposures = {row["label"]: row for row in yaml.safe_load(path.read_text())["exposures"]}
    for dashboard in DASHBOARDS:
        queries = [question["sql"] for question in dashboard["questions"]]
        queries += [FILTERS[name]["sql"] for name in dashboard["filters"]]
        read = {name for sql in queries for name in re.findall(r"\b(?:fct|dim)_\w+", sql)}
        exposed = re.findall(r"'(\w+)'", " ".join(exposures[dashboard["name"]]["depends_on"]))
        assert read <= set(exposed)


# The client ------------------------------------------------------------------------------------

# Fields that a body must have, and those that it may have; Metabase refuses any other.
MAY_BE_NULL = {"description", "collection_id", "card_id", "parent_id", "parameter_mappings"}
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "POST /api/setup": ({"token", "user", "prefs"}, {"database"}),
    "POST /api/session": ({"username", "password"}, {"remember"}),
    "POST /api/database": (
        {"name", "engine", "details"},
        {"is_full_sync", "is_on_demand", "schedules", "auto_run_queries", "cache_ttl"},
    ),
    "PUT /api/database/:id": (
        set(),
        {"name", "engine", "details", "description", "schedules", "auto_run_queries", "settings"},
    ),
    "POST /api/collection": ({"name"}, {"description", "parent_id", "namespace"}),
    "PUT /api/collection/:id": (set(), {"name", "description", "parent_id", "archived"}),
    "POST /api/card": (
        {"name", "dataset_query", "display", "visualization_settings"},
        {"description", "collection_id", "parameters", "parameter_mappings", "type", "cache_ttl"},
    ),
    "PUT /api/card/:id": (
        set(),
        {"name", "dataset_query", "display", "visualization_settings", "description"}
        | {"collection_id", "parameters", "parameter_mappings", "type", "archived", "cache_ttl"},
    ),
    "POST /api/dashboard": (
        {"name"},
        {"description", "parameters", "collection_id", "collection_position", "cache_ttl"},
    ),
    "PUT /api/dashboard/:id": (
        set(),
        {"name", "description", "parameters", "collection_id", "width", "auto_apply_filters"}
        | {"archived", "dashcards", "tabs", "cache_ttl"},
    ),
}
DASHCARD = (
    {"id", "row", "col", "size_x", "size_y"},
    {"card_id", "action_id", "dashboard_tab_id", "parameter_mappings", "visualization_settings"}
    | {"inline_parameters", "series"},
)
ADMIN = {"username": "admin@example.com", "password": "a long one 1"}


class StandIn:
    """What a Metabase keeps, and what its endpoints make of it."""

    def __init__(self) -> None:
        self.users: list[dict[str, Any]] = []
        self.tables: dict[str, dict[int, dict[str, Any]]] = {
            "database": {1: {"name": "Sample Database"}},
            "collection": {},
            "card": {},
            "dashboard": {},
        }
        self.calls: list[str] = []
        self.last_id = 1

    def answer(self, method: str, url: str, session: str | None, body: Any) -> tuple[int, Any]:
        path = urlsplit(url).path
        endpoint = f"{method} " + re.sub(r"/\d+", "/:id", path)
        self.calls.append(endpoint)
        if endpoint == "GET /api/session/properties":
            token = None if self.users else "a token"
            return 200, {"has-user-setup": bool(self.users), "setup-token": token}
        if body is not None and (wrong := self.wrong_fields(endpoint, body)):
            return 400, {"errors": wrong}
        if endpoint == "POST /api/setup":
            if self.users or body["token"] != "a token" or not body["prefs"]["site_name"]:
                return 403, "cannot be set up"
            self.users.append(
                {"username": body["user"]["email"], "password": body["user"]["password"]}
            )
            return 200, {"id": "a session"}
        if endpoint == "POST /api/session":
            if body not in self.users:
                return 401, {"errors": {"password": "did not match stored password"}}
            return 200, {"id": "a session"}
        if session != "a session":
            return 401, "Unauthenticated"
        return self.answer_signed_in(method, endpoint, url, body)

    def wrong_fields(self, endpoint: str, body: dict[str, Any]) -> dict[str, str]:
        required, allowed = FIELDS[endpoint]
        wrong = fields(body, required, required | allowed)
        for dashcard in body.get("dashcards", ()):
            wrong |= fields(dashcard, DASHCARD[0], DASHCARD[0] | DASHCARD[1])
        numbers = [dashcard.get("id") for dashcard in body.get("dashcards", ())]
        if len(set(numbers)) < len(numbers):
            wrong["dashcards"] = "an id stands twice"
        return wrong

    def answer_signed_in(self, method: str, endpoint: str, url: str, body: Any) -> tuple[int, Any]:
        _, _, kind, *rest = urlsplit(url).path.split("/")
        table = self.tables[kind]
        if endpoint == "GET /api/database":
            return 200, {"data": rows(table)}
        if endpoint == "GET /api/collection":
            return 200, [{"id": "root", "name": "Our analytics"}, *rows(table)]
        if endpoint == "GET /api/collection/:id/items":
            (model,) = parse_qs(urlsplit(url).query)["models"]
            inside = [
                row | {"model": model}
                for row in rows(self.tables[model])
                if row["collection_id"] == int(rest[0])
            ]
            return 200, {"data": inside, "total": len(inside)}
        if method == "POST":
            self.last_id += 1
            table[self.last_id] = {"dashcards": []} if kind == "dashboard" else {}
            rest = [str(self.last_id)]
        number = int(rest[0])
        if number not in table:
            return 404, "Not found."
        if body is not None:
            for card in body.get("dashcards", ()):
                if card["id"] < 0:
                    self.last_id += 1
                    card["id"] = self.last_id
            table[number] |= body
        return 200, {"id": number} | table[number]


def fields(body: dict[str, Any], required: set[str], allowed: set[str]) -> dict[str, str]:
    wrong = {name: "missing required key" for name in required - set(body)}
    wrong |= {name: "disallowed key" for name in set(body) - allowed}
    wrong |= {
        name: "invalid type"
        for name, value in body.items()
        if value is None and name not in MAY_BE_NULL
    }
    return wrong


def rows(table: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": number} | row for number, row in table.items()]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A stand-in for a fresh Metabase, listening at its `url`."""
    metabase = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            session = self.headers.get("X-Metabase-Session")
            status, answer = metabase.answer(self.command, self.path, session, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = respond

        def log_message(self, *arguments: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    metabase.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield metabase
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def environment(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABASE_URL", stand_in.url)
    monkeypatch.setenv("METABASE_EMAIL", ADMIN["username"])
    monkeypatch.setenv("METABASE_PASSWORD", ADMIN["password"])
    monkeypatch.setenv("LEADLIGHT_READER_PASSWORD", "only to read")


def test_first_run_sets_everything_up(
    database: Settings, stand_in: StandIn, environment: None
) -> None:
    said = done(database, "metabase", "--database-host", "db.example.com")
    assert stand_in.users == [ADMIN]
    assert "made admin@example.com the first user" in said

    (made,) = [row for row in stand_in.tables["database"].values() if row["name"] == "leadlight"]
    assert made["engine"] == "postgres"
    assert made["details"] == {
        "host": "db.example.com",
        "port": database.port,
        "dbname": database.dbname,
        "user": READER,
        "password": "only to read",
        "ssl": False,
    }
    cards = {row["name"]: number for number, row in stand_in.tables["card"].items()}
    names = {question["name"] for question in QUESTIONS.values()}
    assert set(cards) == names | {f"Values of {name}" for name in FILTERS}

    dashboards = {row["name"]: number for number, row in stand_in.tables["dashboard"].items()}
    assert set(dashboards) == {"Model health", "Coupon money"}
    for name, number in dashboards.items():
        assert f"{name}: {stand_in.url}/dashboard/{number}#refresh=60" in said


def test_filters_are_wired_to_the_queries(
    database: Settings, stand_in: StandIn, environment: None
) -> None:
    done(database, "metabase", "--database-host", "db.example.com")
    cards = stand_in.tables["card"]
    for definition in DASHBOARDS:
        (dashboard,) = [
            row
            for row in stand_in.tables["dashboard"].values()
            if row["name"] == definition["name"]
        ]
        parameters = {row["id"]: row for row in dashboard["parameters"]}
        assert list(parameters) == definition["filters"]
        for name, parameter in parameters.items():
            source = cards[parameter["values_source_config"]["card_id"]]
            assert source["name"] == f"Values of {name}"
            assert parameter["values_source_config"]["value_field"][1] == name
        heading, *dashcards = dashboard["dashcards"]
        assert heading["card_id"] is None and "#refresh=60" in str(heading)
        assert [cards[row["card_id"]]["name"] for row in dashcards] == [
            question["name"] for question in definition["questions"]
        ]
        for row in dashcards:
            native = cards[row["card_id"]]["dataset_query"]["native"]
            tags = re.findall(r"\{\{(\w+)\}\}", native["query"])
            assert set(native["template-tags"]) == set(tags)
            targets = {each["parameter_id"]: each["target"] for each in row["parameter_mappings"]}
            assert targets == {tag: ["variable", ["template-tag", tag]] for tag in tags}


def test_second_run_changes_nothing(
    database: Settings, stand_in: StandIn, environment: None
) -> None:
    said = [done(database, "metabase", "--database-host", "db.example.com")]
    before = copy.deepcopy(stand_in.tables)
    stand_in.calls.clear()
    said.append(done(database, "metabase", "--database-host", "db.example.com"))
    assert stand_in.tables == before
    made = [call for call in stand_in.calls if call.startswith("POST")]
    assert made == ["POST /api/session"]
    assert said[0].splitlines()[1:] == said[1].splitlines()


def test_definitions_win_and_what_people_made_stays(
    database: Settings, stand_in: StandIn, environment: None
) -> None:
    done(database, "metabase", "--database-host", "db.example.com")
    before = copy.deepcopy(stand_in.tables)
    cards = stand_in.tables["card"]
    mine = {"name": "Mine", "collection_id": next(iter(stand_in.tables["collection"]))}
    cards[99] = copy.deepcopy(mine)
    (health,) = [
        row for row in stand_in.tables["dashboard"].values() if row["name"] == "Model health"
    ]
    health["dashcards"][1]["row"] = 77
    health["parameters"] = []
    next(iter(cards.values()))["dataset_query"] = "drop table students"
    done(database, "metabase", "--database-host", "db.example.com")
    assert cards.pop(99) == mine
    assert stand_in.tables == before


def test_password_is_not_told(database: Settings, stand_in: StandIn, environment: None) -> None:
    said = done(database, "metabase", "--database-host", "db.example.com")
    assert "only to read" not in said and ADMIN["password"] not in said


def test_body_with_a_field_that_metabase_does_not_know_is_refused(stand_in: StandIn) -> None:
    client = Metabase(stand_in.url)
    assert client.sign_in(ADMIN["username"], ADMIN["password"])
    with pytest.raises(LeadlightError, match=r"refused POST /api/card with 400.*colour"):
        client.call("POST", "/api/card", {"name": "x", "colour": "red"})


def test_wrong_password(
    database: Settings, stand_in: StandIn, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.users.append({"username": ADMIN["username"], "password": "another"})
    result = leadlight(database, "metabase", "--database-host", "db.example.com")
    assert_one_line(result, "refused POST /api/session with 401", "did not match")


def test_nobody_answers(
    database: Settings, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METABASE_URL", "http://127.0.0.1:1")
    result = leadlight(database, "metabase", "--database-host", "db.example.com")
    assert_one_line(result, "no Metabase answers at http://127.0.0.1:1", "METABASE_URL")


def test_variables_are_asked_for(
    database: Settings, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METABASE_EMAIL")
    monkeypatch.setenv("LEADLIGHT_READER_PASSWORD", "")
    result = leadlight(database, "metabase", "--database-host", "db.example.com")
    assert_one_line(result, "METABASE_EMAIL, LEADLIGHT_READER_PASSWORD")


def test_socket_is_refused(database: Settings, environment: None, tmp_path: Any) -> None:
    profile = yaml.safe_load((database.profiles_dir / "profiles.yml").read_text())
    profile["leadlight"]["outputs"]["test"]["host"] = "/var/run/postgresql"
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump(profile))
    result = leadlight(replace(database, profiles_dir=tmp_path), "metabase")
    assert_one_line(result, "/var/run/postgresql", "--database-host")


def test_address_may_end_in_a_slash(stand_in: StandIn) -> None:
    client = Metabase(f"{stand_in.url}/")
    client.sign_in(ADMIN["username"], ADMIN["password"])
    links = provision(client, PROJECT_DIR, {"host": "db"})
    assert all(link.startswith(f"{stand_in.url}/dashboard/") for link in links.values())
