"""What the command tells on the way and at the end: status, for people and machines, and logs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from click.testing import Result
from helpers import TASKS, assert_done, done, execute, fetch, fetch_value, leadlight

from python_scoring import scoring
from python_scoring.settings import Settings

N_CHARACTERS = 80


@pytest.fixture(scope="module")
def quiet(simulated: Settings, copy_database: Callable[[Settings, str], Settings]) -> Settings:
    """A copy in which no rule is broken."""
    settings = copy_database(simulated, "quiet")
    execute(settings, "truncate leadlight_metrics.fct_alerts")
    return settings


@pytest.fixture
def alerting(quiet: Settings) -> Iterator[Callable[[str], None]]:
    """Let a rule of some severity be broken, for the time of a test."""

    def break_rule(severity: str) -> None:
        execute(
            quiet,
            "insert into leadlight_metrics.fct_alerts (alert_id, rule, severity, message) "
            "values (%s, 'volume', %s, 'too few [leads]')",
            [severity, severity],
        )

    yield break_rule
    execute(quiet, "truncate leadlight_metrics.fct_alerts")


def as_json(settings: Settings) -> dict[str, Any]:
    return json.loads(leadlight(settings, "status", "--json").stdout)


# Status ----------------------------------------------------------------------------------------


def test_status_tells_alerts_runs_champions_and_intake(simulated: Settings) -> None:
    result = leadlight(simulated, "status")
    # Years have passed since the last simulated event.
    assert result.exit_code == 3
    for part in ("succeeded", *TASKS, "v1", "incumbent", "quarantined", "Freshness"):
        assert part in result.stdout
    alerts = fetch(simulated, "select severity, message from leadlight_metrics.fct_alerts")
    assert alerts
    for severity, message in alerts:
        assert severity in result.stdout
        assert " ".join(message.split()) in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("severities", "exit_code"),
    [([], 0), (["info"], 0), (["info", "warning"], 0), (["error"], 3), (["info", "error"], 3)],
)
def test_only_an_open_error_leaves_with_3(
    quiet: Settings, alerting: Callable[[str], None], severities: list[str], exit_code: int
) -> None:
    for severity in severities:
        alerting(severity)
    for arguments in (["status"], ["status", "--json"]):
        assert leadlight(quiet, *arguments).exit_code == exit_code
    first = leadlight(quiet, "status").stdout.splitlines()[0]
    assert first == f"Alerts  {', '.join(f'1 {s}' for s in reversed(severities)) or 'none'}"
    told = [alert["severity"] for alert in as_json(quiet)["alerts"]]
    assert told == severities[::-1]


def test_status_in_json_is_what_the_tables_hold(simulated: Settings) -> None:
    status = as_json(simulated)
    assert list(status) == ["alerts", "freshness", "runs", "champions", "labels", "events"]
    assert [(m["task"], m["status"]) for m in status["champions"]] == [
        (task, "champion") for task in sorted(TASKS)
    ]
    assert "log_loss" in status["champions"][0]["metrics"]

    for task, n_pending, n_mature in fetch(
        simulated,
        "select task, count(*) filter (where label_status = 'pending'), "
        "count(*) filter (where label_status = 'mature') "
        "from leadlight_intermediate.int_labelled_predictions "
        "where run_kind = 'live' and model_version = 'v1' group by task",
    ):
        (labels,) = [
            row for row in status["labels"] if (row["task"], row["model_version"]) == (task, "v1")
        ]
        assert (labels["n_pending"], labels["n_mature"]) == (n_pending, n_mature), task

    events = status["events"]
    assert events["n_received"] == fetch_value(simulated, "select count(*) from tracking.events")
    assert events["n_duplicates"] > 0
    assert events["n_quarantined"] == sum(row["n"] for row in events["quarantined"])


def test_freshness_is_when_things_came_last(simulated: Settings) -> None:
    freshness = {row["thing"]: row for row in as_json(simulated)["freshness"]}
    newest = {
        "events": "select max(loaded_at) from tracking.events",
        "predictions": "select max(loaded_at) from scoring.predictions",
        "assignments": "select max(loaded_at) from scoring.assignments",
        "metrics": "select max(finished_at) from scoring.runs",
    }
    assert list(freshness) == list(newest)
    for thing, query in newest.items():
        newest_at, now = fetch(simulated, f"select ({query}), now()")[0]
        assert datetime.fromisoformat(freshness[thing]["newest_at"]) == newest_at
        assert 0 <= (now - newest_at).total_seconds() - freshness[thing]["seconds_ago"] < 600


def test_what_never_came_is_said(make_database: Callable[[str], Settings]) -> None:
    settings = make_database("never")
    done(settings, "run", "--select", "pre", "--select", "post")
    status = as_json(settings)
    by_thing = {row["thing"]: row["newest_at"] for row in status["freshness"]}
    assert by_thing["events"] is None and by_thing["predictions"] is None
    assert by_thing["metrics"] is not None
    assert status["champions"] == status["labels"] == []
    assert re.search(r"events +never", done(settings, "status"))

    # Neither a run of the first half nor one that fails makes the metrics any fresher.
    execute(
        settings, "update scoring.runs set finished_at = '2020-01-01', started_at = '2020-01-01'"
    )
    done(settings, "run", "--select", "pre")
    assert leadlight(settings, "train").exit_code == 1
    assert as_json(settings)["freshness"][-1]["newest_at"].startswith("2020-01-01")
    assert "failed: there is too little to train" in done(settings, "status")


def test_status_fits_a_terminal(simulated: Settings) -> None:
    said = leadlight(simulated, "status").stdout
    tables = said[said.index("Freshness") : said.index("Events  ")]
    assert max(len(line.rstrip()) for line in tables.splitlines()) <= N_CHARACTERS
    for task in TASKS:
        assert tables.count(task) >= 2, "a name was cut short"


# Logs ------------------------------------------------------------------------------------------


def lines(result: Result) -> list[dict[str, Any]]:
    """Return the log of a command: an object on every line of stderr, and nothing else."""
    found = [json.loads(line) for line in result.stderr.splitlines()]
    for line in found:
        assert {"at", "level", "event", "message"} <= set(line)
        assert datetime.fromisoformat(line["at"]).tzinfo is not None
    return found


def test_logs_of_a_run_are_one_object_a_line(
    simulated: Settings, copy_database: Callable[[Settings, str], Settings], train_quickly: None
) -> None:
    settings = copy_database(simulated, "logged")
    result = leadlight(settings, "--log-format", "json", "train", "--task", "lead_conversion")
    assert_done(result)
    assert result.stdout == ""
    (trained,) = lines(result)
    assert trained["event"] == "task_trained"
    assert (trained["task"], trained["model_version"]) == ("lead_conversion", "v2")
    assert trained["metrics"]["log_loss"] > 0 and trained["rows"] > 0

    result = leadlight(settings, "--log-format", "json", "score")
    assert_done(result)
    scored = lines(result)
    assert {line["event"] for line in scored} == {"task_scored"}
    assert {line["task"] for line in scored} == set(TASKS)
    ((details,),) = fetch(settings, "select details from scoring.runs order by run_id desc limit 1")
    assert sum(line["predictions"] for line in scored) == sum(
        each["predictions"] for each in details["scored"].values()
    )


def test_text_and_json_say_the_same(
    simulated: Settings, copy_database: Callable[[Settings, str], Settings]
) -> None:
    settings = copy_database(simulated, "said_twice")
    done(settings, "score")
    told = done(settings, "score").splitlines()
    logged = lines(leadlight(settings, "--log-format", "json", "score"))
    assert [line["message"] for line in logged] == told
    # The next command is back to sentences.
    assert done(settings, "score").splitlines() == told


@pytest.mark.parametrize(
    ("arguments", "exit_code", "part"),
    [
        (["train", "--task", "nothing"], 1, "no task nothing"),
        (["run", "--select", "sideways"], 2, "sideways"),
        (["models", "promote", "lead_conversion", "v99"], 1, "v99"),
    ],
)
def test_a_failure_is_one_object_too(
    quiet: Settings, arguments: list[str], exit_code: int, part: str
) -> None:
    result = leadlight(quiet, "--log-format", "json", *arguments)
    assert result.exit_code == exit_code
    (line,) = lines(result)
    assert (line["level"], line["event"], line["exit_code"]) == ("error", "failed", exit_code)
    assert part in line["message"]


def test_what_nobody_expected_is_one_object_with_its_traceback(
    quiet: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError("the disk\nis gone")

    monkeypatch.setattr(scoring, "score", fail)
    result = leadlight(quiet, "--log-format", "json", "score")
    assert result.exit_code == 1
    (line,) = lines(result)
    assert line["message"] == "the disk is gone"
    assert line["traceback"].startswith("Traceback")


def test_logs_leave_stdout_to_the_result(simulated: Settings) -> None:
    result = leadlight(simulated, "--log-format", "json", "status", "--json")
    assert result.exit_code == 3
    assert result.stderr == ""
    assert json.loads(result.stdout)["alerts"] == as_json(simulated)["alerts"]
