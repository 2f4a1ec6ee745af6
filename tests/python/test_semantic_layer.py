"""The semantic layer: MetricFlow takes it, and answers what the marts hold."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import PROJECT_DIR, execute, fetch_dicts

from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

METRICS = yaml.safe_load((PROJECT_DIR / "models/semantic/_semantic__metrics.yml").read_text())
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def built(simulated: Settings, copy_database: Callable[[Settings, str], Settings]) -> Settings:
    """A built database in which a part of the labels is pending, more on some days than others."""
    settings = copy_database(simulated, "semantic")
    execute(
        settings,
        """
        update leadlight_metrics.fct_label_maturity
        set n_pending = kept, n_mature = n_mature - kept,
            mature_share = cast(n_mature - kept as double precision) / nullif(n_mature, 0)
        from (
            select ctid as place,
                n_mature / (2 + extract(day from prediction_date)::int % 5) as kept
            from leadlight_metrics.fct_label_maturity
        ) as split
        where fct_label_maturity.ctid = split.place
        """,
    )
    # One more waits on every day of every arm.
    execute(
        settings,
        """
        update leadlight_intermediate.int_experiment_daily
        set n_assigned = n_assigned + 1, n_pending = n_pending + 1
        where slice_name = 'all';

        update leadlight_metrics.fct_coupon_uplift_daily
        set n_assigned = n_assigned + 1, n_pending = n_pending + 1
        where slice_name = 'all' and window_name = 'day';

        update leadlight_metrics.fct_coupon_uplift as uplift
        set control_n_assigned = control_n_assigned + (
            select count(*) from leadlight_intermediate.int_experiment_daily as days
            where days.experiment = uplift.experiment and days.arm = uplift.control_arm
                and days.slice_name = 'all'
        )
        where slice_name = 'all'
        """,
    )
    return settings


@pytest.fixture(scope="module")
def project(built: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of the project as MetricFlow reads, with what dbt made of the rest."""
    folder = tmp_path_factory.mktemp("semantic")
    for name in ("dbt_project.yml", "packages.yml"):
        shutil.copy(PROJECT_DIR / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(folder / "target"))
        run_dbt(built, ["parse"])
    return folder


@pytest.fixture(scope="module")
def mf(built: Settings, project: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs the `mf` command on the simulated data."""
    environment = {**os.environ, "DBT_PROFILES_DIR": str(built.profiles_dir)}
    # It looks for what dbt made where the project file says, and nowhere else.
    del environment["DBT_TARGET_PATH"]

    def run(*arguments: str, folder: Path = project) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(Path(sys.executable).with_name("mf")), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def query(mf: Callable[..., subprocess.CompletedProcess], project: Path) -> Callable[..., Rows]:
    """Return a function that queries metrics; NULL is None, and numbers are numbers."""

    def ask(metrics: str, group_by: str) -> Rows:
        path = project / "answer.csv"
        result = mf("query", "--metrics", metrics, "--group-by", group_by, "--csv", str(path))
        assert result.returncode == 0, result.stdout
        with path.open() as file:
            return [
                {name: number_of(name, value, metrics) for name, value in row.items()}
                for row in csv.DictReader(file)
            ]

    return ask


def number_of(name: str, value: str, metrics: str) -> Any:
    if name not in metrics.split(","):
        return value
    return float(value) if value else None


def assert_alike(found: Rows, expected: Rows, keys: tuple[str, ...]) -> None:
    """The same rows by their keys, and the same numbers in each."""
    by_key = {tuple(row[key] for key in keys): row for row in found}
    assert len(by_key) == len(found)
    wanted = {tuple(str(row[key]) for key in keys): row for row in expected}
    assert set(by_key) == set(wanted)
    for key, row in wanted.items():
        for name in set(row) - set(keys):
            value = by_key[key][name]
            if row[name] is None:
                assert value is None, (key, name)
            else:
                assert value == pytest.approx(float(row[name]), rel=1e-12), (key, name)


# Whether it is well formed ---------------------------------------------------------------------


def test_metricflow_finds_no_mistake(mf: Callable[..., subprocess.CompletedProcess]) -> None:
    result = mf("validate-configs")
    assert result.returncode == 0, result.stdout
    # Against its own rules, and against the tables, in six steps.
    assert len(re.findall(r"Successfully validated .*ERRORS: 0", result.stdout)) == 6


def test_metricflow_finds_a_column_that_is_not_there(
    mf: Callable[..., subprocess.CompletedProcess], project: Path, tmp_path: Path
) -> None:
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "target" / "semantic_manifest.json"
    manifest = path.read_text()
    path.write_text(manifest.replace("2 * n_true_positives", "2 * n_true_negatifs"))
    assert path.read_text() != manifest
    result = mf("validate-configs", folder=tmp_path)
    assert "n_true_negatifs" in result.stdout


def test_everything_is_described(project: Path) -> None:
    manifest = json.loads((project / "target" / "semantic_manifest.json").read_text())
    assert len(manifest["semantic_models"]) >= 5 and len(manifest["metrics"]) >= 15
    for model in manifest["semantic_models"]:
        assert model["description"].startswith("One row per "), model["name"]
        for part in (*model["dimensions"], *model["measures"]):
            assert part["description"], (model["name"], part["name"])
    for metric in manifest["metrics"]:
        assert metric["description"] and metric["label"], metric["name"]


def test_every_measure_is_of_a_metric(project: Path) -> None:
    manifest = json.loads((project / "target" / "semantic_manifest.json").read_text())
    measures = {
        measure["name"] for model in manifest["semantic_models"] for measure in model["measures"]
    }
    simple = [metric for metric in METRICS["metrics"] if metric["type"] == "simple"]
    used = {metric["type_params"]["measure"] for metric in simple}
    assert measures == used


# What it answers -------------------------------------------------------------------------------

OF_THE_CONFUSION_MATRIX = "precision,recall,specificity,accuracy,f1_score,base_rate"


def test_ratios_of_a_day_are_those_of_the_mart(built: Settings, query: Callable[..., Rows]) -> None:
    expected = fetch_dicts(
        built,
        f"""
        select prediction_date || ' 00:00:00' as metric_time__day,
            task || ' ' || model_version as version, {OF_THE_CONFUSION_MATRIX}
        from leadlight_metrics.fct_classifier_metrics_daily
        where run_kind = 'live' and slice_name = 'all'
        """,
    )
    assert len(expected) > 60
    found = query(OF_THE_CONFUSION_MATRIX, "metric_time__day,version")
    assert_alike(found, expected, ("metric_time__day", "version"))


def test_ratios_of_all_days_are_those_of_the_sums(
    built: Settings, query: Callable[..., Rows]
) -> None:
    expected = fetch_dicts(
        built,
        """
        select task,
            sum(n_true_positives) / nullif(sum(n_true_positives + n_false_positives), 0)
                as precision,
            sum(n_true_positives) / nullif(sum(n_true_positives + n_false_negatives), 0)
                as recall
        from leadlight_metrics.fct_confusion_matrix_daily
        where run_kind = 'live' and slice_name = 'all'
        group by task
        """,
    )
    assert_alike(query("precision,recall", "task"), expected, ("task",))


def test_labelled_share_is_that_of_the_mart(built: Settings, query: Callable[..., Rows]) -> None:
    expected = fetch_dicts(
        built,
        """
        select prediction_date || ' 00:00:00' as metric_time__day,
            task || ' ' || model_version as version, mature_share as labelled_share,
            n_pending as pending_predictions, n_predictions as predictions
        from leadlight_metrics.fct_label_maturity where run_kind = 'live'
        """,
    )
    assert len({row["labelled_share"] for row in expected}) > 5
    found = query("labelled_share,pending_predictions,predictions", "metric_time__day,version")
    assert_alike(found, expected, ("metric_time__day", "version"))


def test_labelled_share_of_all_days_is_that_of_the_sums(
    built: Settings, query: Callable[..., Rows]
) -> None:
    expected = fetch_dicts(
        built,
        """
        select task, cast(sum(n_mature) as double precision)
                / nullif(sum(n_mature + n_pending), 0) as labelled_share
        from leadlight_metrics.fct_label_maturity where run_kind = 'live' group by task
        """,
    )
    assert_alike(query("labelled_share", "task"), expected, ("task",))


def test_leads_are_worth_what_they_ordered(built: Settings, query: Callable[..., Rows]) -> None:
    expected = fetch_dicts(
        built,
        """
        select to_char(date_trunc('month', as_of_at), 'YYYY-MM-DD HH24:MI:SS')
                as metric_time__month,
            avg(least(n, 1)) as conversion_rate, avg(amount) as revenue_per_lead
        from (
            select leads.entity_id, as_of_at, count(event_id) as n,
                coalesce(sum(events.amount), 0) as amount
            from leadlight_features.fct_lead_conversion_features as leads
            left join leadlight_intermediate.int_events as events
                on events.user_id = leads.entity_id and event_type = 'order_completed'
                    and occurred_at > as_of_at and occurred_at <= as_of_at + interval '14 days'
            group by leads.entity_id, as_of_at
        ) as outcomes
        group by 1
        """,
    )
    assert len(expected) >= 2
    found = query("conversion_rate,revenue_per_lead", "metric_time__month")
    assert_alike(found, expected, ("metric_time__month",))


OF_AN_ARM = "assigned,assigned_matured,assigned_conversion_rate,revenue_per_assigned"


def test_days_of_an_arm_are_those_of_the_mart(built: Settings, query: Callable[..., Rows]) -> None:
    expected = fetch_dicts(
        built,
        """
        select assignment_date || ' 00:00:00' as metric_time__day,
            experiment || ' ' || arm as arm, conversion.n_assigned as assigned,
            conversion.n_mature as assigned_matured,
            conversion.mean as assigned_conversion_rate, revenue.mean as revenue_per_assigned
        from leadlight_metrics.fct_coupon_uplift_daily as conversion
        inner join leadlight_metrics.fct_coupon_uplift_daily as revenue
            using (experiment, arm, slice_name, slice_value, window_name, assignment_date)
        where slice_name = 'all' and window_name = 'day'
            and conversion.metric = 'conversion' and revenue.metric = 'revenue'
        """,
    )
    assert len(expected) > 20
    found = query(OF_AN_ARM, "metric_time__day,arm,arm__is_control")
    paying = [row for row in found if row["arm__is_control"] == "False"]
    assert len(paying) < len(found)
    assert_alike(paying, expected, ("metric_time__day", "arm"))


def test_control_arms_are_those_of_the_mart(built: Settings, query: Callable[..., Rows]) -> None:
    expected = fetch_dicts(
        built,
        """
        select distinct experiment || ' ' || control_arm as arm,
            conversion.control_n_assigned as assigned,
            conversion.control_n_mature as assigned_matured,
            conversion.control_mean as assigned_conversion_rate,
            revenue.control_mean as revenue_per_assigned
        from leadlight_metrics.fct_coupon_uplift as conversion
        inner join leadlight_metrics.fct_coupon_uplift as revenue
            using (experiment, arm, control_arm, slice_name, slice_value)
        where slice_name = 'all'
            and conversion.metric = 'conversion' and revenue.metric = 'revenue'
        """,
    )
    found = query(OF_AN_ARM, "arm,arm__is_control")
    control = [row for row in found if row["arm__is_control"] == "True"]
    assert_alike(control, expected, ("arm",))


def test_coupons_earned_what_the_mart_says(built: Settings, query: Callable[..., Rows]) -> None:
    expected = fetch_dicts(
        built,
        """
        select experiment || ' ' || arm as arm, n_redeemed as coupons_redeemed,
            sum_redeemed as coupon_spend, incremental_conversions as coupon_incremental_conversions,
            incremental_revenue as coupon_incremental_revenue, net_money as coupon_net_money
        from leadlight_metrics.fct_coupon_money
        """,
    )
    assert all(row["coupon_spend"] > 0 for row in expected)
    metrics = ",".join(sorted(set(expected[0]) - {"arm"}))
    found = query(metrics, "arm,arm__is_control")
    assert_alike([row for row in found if row["arm__is_control"] == "False"], expected, ("arm",))


def test_metrics_can_be_grouped_by_what_is_known_of_tasks_and_versions(
    built: Settings, query: Callable[..., Rows]
) -> None:
    expected = fetch_dicts(
        built,
        """
        select kind as task__kind, coalesce(status, '') as version__status,
            sum(maturity.n_predictions) as predictions
        from leadlight_metrics.fct_label_maturity as maturity
        inner join leadlight_shared.dim_prediction_tasks using (task)
        left join leadlight_shared.dim_model_versions using (task, model_version)
        where run_kind = 'live' group by 1, 2
        """,
    )
    found = query("predictions", "task__kind,version__status")
    assert_alike(found, expected, ("task__kind", "version__status"))


def test_examples_of_the_readme_answer(mf: Callable[..., subprocess.CompletedProcess]) -> None:
    readme = (PROJECT_DIR / "README.md").read_text()
    text = readme.replace("\\\n", " ")
    examples = [shlex.split(line) for line in re.findall(r"^\.venv/bin/mf (query .*)$", text, re.M)]
    assert len(examples) >= 3
    for arguments in examples:
        result = mf(*arguments)
        assert result.returncode == 0 and "query completed" in result.stdout, result.stdout
