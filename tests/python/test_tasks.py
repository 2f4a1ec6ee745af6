"""A task is an entry of the registry: taken away, added, scored in shadow, trained when due."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from conftest import ON_THE_LAST_DAY, ONCE_MATURE
from helpers import (
    EXPERIMENTS,
    PROJECT_DIR,
    TASKS,
    assert_one_line,
    done,
    execute,
    fetch,
    fetch_value,
    leadlight,
    quick_training,
)

from python_scoring import registry
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

FEATURES = Path("models/marts/features")
MODELS_ONLY = ("--exclude-resource-type", "test", "unit_test")
CopyDatabase = Callable[[Settings, str], Settings]


def last_run(settings: Settings) -> tuple[str, str, dict[str, Any]]:
    """Return command, status and details of the last entry in the diary."""
    query = "select command, status, details from scoring.runs order by run_id desc limit 1"
    return fetch(settings, query)[0]


@pytest.fixture(scope="module", autouse=True)
def train_quickly() -> Iterator[None]:
    """Let every training be quick."""
    with quick_training():
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the dbt project, to be changed."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("dbt_project.yml", "packages.yml", "selectors.yml"):
        shutil.copy(PROJECT_DIR / name, folder)
    for name in ("models", "macros", "seeds", "tests/singular"):
        shutil.copytree(PROJECT_DIR / name, folder / name)
    (folder / "dbt_packages").symlink_to(PROJECT_DIR / "dbt_packages")
    return folder


def change_registry(project: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the variables of a project."""
    path = project / "dbt_project.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content["vars"])
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


# A task is taken away --------------------------------------------------------------------------


def take_away(project: Path, task: str) -> None:
    """Delete a task's entry, its experiments, and its features model if no other task uses it."""

    def without(variables: dict[str, Any]) -> None:
        del variables["prediction_tasks"][task]
        experiments = variables["experiments"]
        for name in [name for name in experiments if experiments[name].get("task") == task]:
            del experiments[name]

    change_registry(project, without)
    model = TASKS[task]["features_model"]
    if any(other["features_model"] == model for name, other in TASKS.items() if name != task):
        return
    (project / FEATURES / f"{model}.sql").unlink()
    for path in (project / FEATURES).glob("*.yml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section, key in (("models", "name"), ("unit_tests", "model")):
            entries = [entry for entry in content.get(section, ()) if entry[key] != model]
            content.pop(section, None)
            if entries:
                content[section] = entries
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


# To build a project takes time, even an empty one: two are, and the others are parsed.
BUILT = ("lead_conversion", "subscription_churn")


@pytest.mark.parametrize("task", TASKS)
def test_project_does_without_a_task(
    task: str, project: Path, make_database: Callable[[str], Settings], database: Settings
) -> None:
    take_away(project, task)
    if task not in BUILT:
        without = dataclasses.replace(database, project_dir=project)
        run_dbt(without, ["parse", "--no-partial-parse"])
        return
    settings = make_database("without")
    n_nodes = run_dbt(dataclasses.replace(settings, project_dir=project), ["build", *MODELS_ONLY])
    assert n_nodes > 50
    left = fetch(settings, "select task from leadlight_shared.dim_prediction_tasks")
    assert {name for (name,) in left} == set(TASKS) - {task}


def test_features_models_are_named_in_their_folder_alone() -> None:
    """What else named one would have to be changed with the registry."""
    word = re.compile(rf"\b({'|'.join({entry['features_model'] for entry in TASKS.values()})})\b")
    named = [
        f"{path.relative_to(PROJECT_DIR)}: {found}"
        for folder in ("models", "macros", "seeds", "tests/generic", "tests/singular")
        for path in sorted((PROJECT_DIR / folder).rglob("*.*"))
        if path.suffix in (".sql", ".yml") and FEATURES not in path.relative_to(PROJECT_DIR).parents
        for found in word.findall(path.read_text(encoding="utf-8"))
    ]
    assert named == []


# A task is added -------------------------------------------------------------------------------

NEWSLETTER_READER = {
    "kind": "binary",
    "entity": "user",
    "features_model": "fct_newsletter_reader_features",
    "outcome_event": "newsletter_opened",
    "label_rule": "occurs",
    "horizon_days": 7,
    "default_threshold": 0.5,
    "slices": ["device"],
    "description": "Will this lead open a newsletter within a week?",
}
NEWSLETTER_READER_FEATURES = """
with leads as (

    select
        *,
        landed_at + interval '1 day' as as_of_at
    from {{ ref('int_leads') }}

),

events as (

    select * from {{ ref('int_events_sessionized') }}

),

final as (

    select
        leads.user_id as entity_id,
        max({{ json_text('events.properties', "'device'") }}) as device,
        count(*) as n_events,
        count(*) filter (where events.event_type = 'pricing_viewed') as n_pricing_views,
        leads.as_of_at,
        {{ next_change_number() }} as change_number
    from leads
    inner join events
        on leads.user_id = events.user_id and leads.as_of_at >= events.occurred_at
    where leads.as_of_at <= {{ as_of() }}
    group by leads.user_id, leads.as_of_at

)

select * from final
"""


def test_task_is_one_entry_and_one_model(
    simulated: Settings,
    copy_database: CopyDatabase,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, model = "newsletter_reader", NEWSLETTER_READER["features_model"]
    change_registry(
        project, lambda variables: variables["prediction_tasks"].update({task: NEWSLETTER_READER})
    )
    (project / FEATURES / f"{model}.sql").write_text(NEWSLETTER_READER_FEATURES)
    settings = copy_database(simulated, "extended")
    monkeypatch.chdir(project)
    done(settings, "run", "--select", "pre", "--vars", ON_THE_LAST_DAY)
    done(settings, "train", "--task", task)
    done(settings, "score", "--task", task)
    done(settings, "run", "--select", "post", "--vars", ONCE_MATURE)

    known = fetch(
        settings,
        "select label, count(*) from leadlight_intermediate.int_labels "
        "where label_name = %s and label_status = 'mature' group by label order by label",
        [task],
    )
    assert [label for label, _ in known] == [0, 1]
    n_rows = fetch_value(settings, f"select count(*) from leadlight_features.{model}")
    assert sum(n for _, n in known) == n_rows > 1000
    assert fetch(settings, "select status from scoring.models where task = %s", [task]) == [
        ("champion",)
    ]
    features = fetch(
        settings, "select feature from scoring.feature_importances where task = %s", [task]
    )
    assert {name for (name,) in features} == {"device", "n_events", "n_pricing_views"}
    predictions = fetch(
        settings,
        "select run_kind, count(*), min(score), max(score) from scoring.predictions "
        "where task = %s group by run_kind order by run_kind",
        [task],
    )
    assert [row[0] for row in predictions] == ["backtest", "live"]
    for _, n_scored, lowest, highest in predictions:
        assert n_scored > 100
        assert 0 < lowest < highest < 1
    for mart in ("fct_confusion_matrix_daily", "fct_classifier_metrics_daily"):
        n_mature = fetch(
            settings,
            f"select slice_name, sum(n_mature)::int from leadlight_metrics.{mart} "
            "where task = %s group by slice_name order by slice_name",
            [task],
        )
        n_scored = sum(row[1] for row in predictions)
        assert n_mature == [("all", n_scored), ("device", n_scored)], mart
    for mart in ("metrics.fct_calibration_daily", "activation.fct_current_predictions"):
        assert fetch(settings, f"select 1 from leadlight_{mart} where task = %s limit 1", [task])


# No code knows a task --------------------------------------------------------------------------

# Words of the language that happen to be the name of a feature as well.
ORDINARY_WORDS = {"age": "of a training", "plan": "of a simulation"}


def test_no_code_knows_a_task_or_a_feature(simulated: Settings) -> None:
    """Only the simulation does, which stands for the businesses."""
    names = {*TASKS, *EXPERIMENTS, *(task["features_model"] for task in TASKS.values())}
    names |= {
        name for (name,) in fetch(simulated, "select event_type from leadlight_seeds.event_types")
    }
    in_features, in_contract = (
        {
            name
            for (name,) in fetch(
                simulated,
                "select column_name from information_schema.columns where table_schema = any (%s)",
                [schemas],
            )
        }
        for schemas in (["leadlight_features"], ["tracking", "scoring"])
    )
    names |= in_features - in_contract - {"change_number"} - set(ORDINARY_WORDS)
    assert len(names) > 70
    word = re.compile(rf"\b({'|'.join(sorted(names))})\b")
    known = [
        f"{path.name}:{number}: {found}"
        for path in sorted((PROJECT_DIR / "python_scoring").glob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for found in word.findall(line)
    ]
    assert known == []


# Time goes by: a challenger in the shadow, and reasons to train ----------------------------------

# Mondays and months end soon after the simulated events do, and all that is later is recent.
LATER = {
    "calendar_end_date": "2025-07-20",
    "drift_window_days": 36_500,
    "retrain_min_rows": 30,
}


@pytest.fixture(scope="module")
def before(simulated: Settings, copy_database: CopyDatabase) -> Settings:
    """A copy in which session_conversion has a challenger, too."""
    settings = copy_database(simulated, "later")
    # As if the champion had seen nearly all there is.
    execute(
        settings,
        "update scoring.models set judged_through = '2025-06-30 00:00:00+00' "
        "where task = 'session_conversion'",
    )
    said = done(settings, "train", "--task", "session_conversion")
    assert "v2 is challenger" in said
    return settings


@pytest.fixture(scope="module")
def later(before: Settings) -> Settings:
    """The same a while later: the world has changed, was scored and judged, but nothing trained."""
    # Visits as there were none before.
    execute(
        before,
        """
        insert into tracking.events
            (event_id, event_type, user_id, session_id, occurred_at, properties)
        select concat_ws('-', 'new', visit, click), 'product_viewed', 'newcomer-' || visit,
            'new-visit-' || visit,
            timestamptz '2025-07-10 00:00:00+00' + visit * interval '10 minutes'
            + click * interval '1 second',
            jsonb_build_object('product', 'p' || click, 'category', 'bags', 'price', 900,
                'page', '1', 'device', 'desktop', 'country', 'DE')
        from generate_series(1, 300) as visit, generate_series(1, 5) as click
        """,
    )
    # Nine of ten leads order after all.
    execute(
        before,
        "insert into tracking.events (event_id, event_type, user_id, occurred_at, amount) "
        "select 'surprise-' || entity_id, 'order_completed', entity_id, "
        "as_of_at + interval '1 day', 10 from scoring.predictions "
        "where task = 'lead_conversion' and model_version = 'v1' and run_kind = 'live' "
        "and entity_id not like '%7'",
    )
    # Players bet otherwise.
    execute(
        before,
        "update leadlight_features.fct_player_first_day_features set bet_sum = bet_sum + 1000 "
        "where as_of_at > (select trained_through from scoring.models "
        "where task = 'first_day_churn')",
    )
    # And subscribers fall silent, since there is nothing after the last simulated day.
    for age, tasks in (
        (31, ["customer_churn"]),
        (8, ["lead_conversion", "session_conversion", "subscription_churn"]),
        (3, ["first_day_churn"]),
    ):
        execute(
            before,
            "update scoring.models set trained_at = trained_at - %s * interval '1 day' "
            "where task = any (%s)",
            [age, tasks],
        )
    select = [word for phase in ("pre", "score", "post") for word in ("--select", phase)]
    done(before, "run", *select, "--vars", json.dumps(LATER))
    return before


def test_challenger_is_scored_in_the_shadow(later: Settings) -> None:
    scored = fetch(
        later,
        "select model_version, array_agg(entity_id order by entity_id) from scoring.predictions "
        "where task = 'session_conversion' and run_kind = 'live' and as_of_at >= '2025-07-10' "
        "group by model_version order by model_version",
    )
    assert [row[0] for row in scored] == ["v1", "v2"]
    assert scored[0][1] == scored[1][1]
    assert len(scored[0][1]) == 300
    _, _, details = last_run(later)
    for version in ("v1", "v2"):
        counts = details["scored"][f"session_conversion {version}"]
        assert counts["predictions"] == 300

    metrics = fetch(
        later,
        "select model_version, sum(n_mature)::int, count(log_loss) "
        "from leadlight_metrics.fct_classifier_metrics_daily where task = 'session_conversion' "
        "and run_kind = 'live' and slice_name = 'all' and prediction_date >= '2025-07-10' "
        "group by model_version order by model_version",
    )
    assert metrics == [("v1", 300, 3), ("v2", 300, 3)]
    # Nobody acts upon what a challenger says.
    acted_upon = fetch(
        later,
        "select distinct model_version from leadlight_activation.fct_current_predictions "
        "where task = 'session_conversion' and as_of_at >= '2025-07-10'",
    )
    assert acted_upon == [("v1",)]


def test_retraining_is_due_for_a_reason(
    simulated: Settings, later: Settings, copy_database: CopyDatabase
) -> None:
    first = fetch(
        simulated, "select details -> 'trained' from scoring.runs order by run_id limit 1"
    )
    reasons = {task: training["because"] for task, training in first[0][0].items()}
    assert reasons == dict.fromkeys(TASKS, "there is no champion")

    settings = copy_database(later, "due")
    said = done(settings, "train", "--if-due")
    command, status, details = last_run(settings)
    assert (command, status) == ("train", "succeeded")
    reasons = {task: training["because"] for task, training in details["trained"].items()}
    assert reasons["customer_churn"] == "the last training was 31 days ago"
    assert reasons["session_conversion"].startswith("the answers drifted: PSI ")
    assert re.match(r"counts_\S+ drifted: PSI ", reasons["subscription_churn"])
    assert reasons["lead_conversion"].startswith("the loss is ")
    # There is a sign, but the last training is too recent to be followed by another.
    sign = fetch(
        settings,
        "select is_due from leadlight_models.fct_retraining_signals where task = 'first_day_churn'",
    )
    assert sign == [(True,)]
    assert "train: first_day_churn is not due" in said
    assert "first_day_churn" not in reasons


# Champions and challengers ---------------------------------------------------------------------


def statuses(settings: Settings) -> dict[str, str]:
    """Return the status of each version of session_conversion."""
    query = "select model_version, status from scoring.models where task = 'session_conversion'"
    return dict(fetch(settings, query))


@pytest.fixture
def versions(later: Settings, copy_database: CopyDatabase) -> Settings:
    """A copy in which v1 is champion of session_conversion and v2 a challenger."""
    settings = copy_database(later, "versions")
    assert statuses(settings) == {"v1": "champion", "v2": "challenger"}
    return settings


def test_models_are_listed(later: Settings) -> None:
    said = done(later, "models", "list", "--task", "session_conversion")
    rows = [line.split() for line in said.splitlines() if "session_conversion" in line]
    assert [row[1:3] for row in rows] == [["v2", "challenger"], ["v1", "champion"]]
    assert "customer_persona" in done(later, "models", "list")


def test_promotion_and_rollback_are_one_command_and_one_transaction(versions: Settings) -> None:
    for version, former in (("v2", "v1"), ("v1", "v2")):
        said = done(versions, "models", "promote", "session_conversion", version)
        assert f"{version} is champion of session_conversion" in said
        assert statuses(versions) == {version: "champion", former: "retired"}
        command, status, details = last_run(versions)
        assert (command, status) == ("promote", "succeeded")
        assert details == {
            "task": "session_conversion",
            "model_version": version,
            "former": former,
        }
        transactions = fetch(
            versions,
            "select distinct xmin::text from scoring.models where task = 'session_conversion'",
        )
        assert len(transactions) == 1


def test_promotion_that_fails_half_way_changes_nothing(
    versions: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise psycopg.errors.DiskFull("no space left")

    monkeypatch.setattr(registry, "_set_status", fail)
    result = leadlight(versions, "models", "promote", "session_conversion", "v2")
    assert_one_line(result, "no space left")
    assert statuses(versions) == {"v1": "champion", "v2": "challenger"}
    assert last_run(versions)[:2] == ("promote", "failed")


def test_retired_challenger_is_scored_no_more(versions: Settings) -> None:
    result = leadlight(versions, "models", "retire", "session_conversion", "v1")
    assert_one_line(result, "v1 is champion of session_conversion: promote another")
    assert statuses(versions) == {"v1": "champion", "v2": "challenger"}
    done(versions, "models", "retire", "session_conversion", "v2")
    assert statuses(versions) == {"v1": "champion", "v2": "retired"}

    execute(
        versions,
        "delete from scoring.predictions where task = 'session_conversion' and run_kind = 'live'",
    )
    said = done(versions, "score", "--task", "session_conversion")
    assert "v1 scored" in said
    assert "v2" not in said


@pytest.mark.parametrize(
    ("command", "version", "answer"),
    [
        ("promote", "v1", "v1 is champion of session_conversion already"),
        ("promote", "v9", "there is no version v9 of a task session_conversion"),
        ("retire", "v9", "there is no version v9 of a task session_conversion"),
    ],
)
def test_wrong_versions_are_told_in_one_line(
    later: Settings, command: str, version: str, answer: str
) -> None:
    assert_one_line(leadlight(later, "models", command, "session_conversion", version), answer)


# Memory ----------------------------------------------------------------------------------------

N_MANY = 300_000
SCORE_AND_TELL_PEAK = """
import re, sys
from python_scoring.cli import main
main(["score", "--task", "lead_conversion"], standalone_mode=False)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print("peak", peak[1])
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell the peak of a process"
)
def test_scoring_takes_less_than_a_gibibyte(
    simulated: Settings, copy_database: CopyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copy_database(simulated, "many")
    relation = "leadlight_features.fct_lead_conversion_features"
    columns = [
        name
        for (name,) in fetch(
            settings,
            "select column_name from information_schema.columns "
            "where table_schema || '.' || table_name = %s",
            [relation],
        )
        if name not in ("entity_id", "as_of_at")
    ]
    chosen = ", ".join(columns)
    execute(
        settings,
        f"insert into {relation} (entity_id, as_of_at, {chosen}) "
        f"select 'many-' || number, timestamptz '2025-07-10 00:00:00+00', {chosen} "
        f"from generate_series(1, {N_MANY}) as number join ("
        f"select *, row_number() over (order by entity_id) as place from {relation}"
        ") as known on place = 1 + number % 1000",
    )
    monkeypatch.setenv("DBT_PROFILES_DIR", str(settings.profiles_dir))
    result = subprocess.run(
        [sys.executable, "-c", SCORE_AND_TELL_PEAK],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert f"scored {N_MANY:,} rows" in result.stdout
    peak_kib = int(result.stdout.split()[-1])
    assert peak_kib < 1024 * 1024, f"{peak_kib / 1024:,.0f} MiB"
