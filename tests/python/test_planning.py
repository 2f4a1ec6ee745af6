"""Planning an experiment: sample sizes against statsmodels, and what is known from the marts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from helpers import PROJECT, assert_one_line, done, execute, leadlight
from statsmodels.stats.proportion import (
    power_proportions_2indep,
    samplesize_proportions_2indep_onetail,
)

from python_scoring import planning, warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.planning import Plan, sample_size
from python_scoring.settings import Settings

# Sample sizes ----------------------------------------------------------------------------------

GRID = [
    (base_rate, effect, ratio, power, alpha)
    for base_rate in (0.01, 0.1, 0.5, 0.9)
    for effect in (-0.005, 0.002, 0.05)
    for ratio in (0.25, 1.0, 4.0)
    for power in (0.5, 0.8, 0.99)
    for alpha in (0.001, 0.05)
]


@pytest.mark.parametrize(("base_rate", "effect", "ratio", "power", "alpha"), GRID)
def test_sample_size_is_that_of_statsmodels(
    base_rate: float, effect: float, ratio: float, power: float, alpha: float
) -> None:
    # statsmodels divides the first sample, the paying arm, into the second.
    found = sample_size(base_rate, effect, ratio, power, alpha)
    expected = samplesize_proportions_2indep_onetail(
        effect, base_rate, power, ratio=1 / ratio, alpha=alpha / 2, alternative="larger"
    )
    assert found * ratio == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("base_rate", "effect", "ratio"), sorted({case[:3] for case in GRID}))
def test_sample_size_has_the_power_that_was_asked_for(
    base_rate: float, effect: float, ratio: float
) -> None:
    n_control = sample_size(base_rate, effect, ratio, 0.8, 0.05)
    power = power_proportions_2indep(
        effect, base_rate, n_control * ratio, ratio=1 / ratio, alpha=0.05
    ).power
    # A little more, since it counts the other tail as well.
    assert 0.8 - 1e-9 < power < 0.801


# What the marts know ---------------------------------------------------------------------------

EXPERIMENT = PROJECT["vars"]["experiments"]["lead_coupon"]
VARIABLES = json.dumps(
    {
        "experiments": {
            "two": EXPERIMENT | {"starts_at": "2026-02-01", "ends_at": "2026-05-01"},
            "three": EXPERIMENT
            | {
                "arms": {
                    "small": {"share": 0.125, "offer_amount": 5},
                    "control": {"share": 0.25},
                    "large": {"share": 0.625, "offer_amount": 12.5},
                }
            },
            "everybody": EXPERIMENT | {"eligible": "all"},
            "stays": EXPERIMENT
            | {"task": "customer_churn", "horizon_days": 90, "eligible": "all", "covariates": []},
            "another_event": EXPERIMENT | {"outcome_event": "invoice_paid"},
            "alone": EXPERIMENT
            | {"arms": {"control": {"share": 1}, "coupon": {"share": 0, "offer_amount": 5}}},
        }
    }
)
# The columns that are read, of marts that dbt builds of many tables.
MARTS = """
create schema leadlight_metrics;
create table leadlight_metrics.fct_coupon_uplift (
    experiment text, arm text, slice_name text, metric text, control_mean double precision,
    control_n_mature bigint
);
create table leadlight_metrics.fct_experiment_estimates (
    experiment text, arm text, metric text, estimator text, variance_ratio double precision
);
create table leadlight_metrics.fct_classifier_metrics (
    task text, model_version text, run_kind text, slice_name text, window_name text,
    n_mature bigint, n_true_positives bigint, n_false_positives bigint, n_true_negatives bigint,
    n_false_negatives bigint
);
create table leadlight_metrics.fct_confusion_matrix_daily (
    task text, model_version text, run_kind text, slice_name text, n_pending bigint,
    n_mature bigint, n_true_negatives bigint, n_false_negatives bigint, prediction_date date
);
create table leadlight_shared.dim_model_versions (task text, model_version text, status text);
"""
STUBS = (
    "leadlight_metrics.fct_coupon_uplift",
    "leadlight_metrics.fct_experiment_estimates",
    "leadlight_metrics.fct_classifier_metrics",
    "leadlight_metrics.fct_confusion_matrix_daily",
    "leadlight_shared.dim_model_versions",
    "scoring.assignments",
)


@pytest.fixture(scope="module")
def planned(make_database: Callable[[str], Settings]) -> Settings:
    settings = make_database("planning")
    names = ("dim_prediction_tasks", "dim_experiments", "dim_experiment_arms")
    run_dbt(settings, ["run", "--select", *names], VARIABLES)
    execute(settings, MARTS)
    return settings


@pytest.fixture
def marts(planned: Settings) -> Settings:
    """The marts, empty."""
    execute(planned, f"truncate {', '.join(STUBS)}")
    return planned


@pytest.fixture
def predicted(marts: Settings) -> Settings:
    """The marts after models have predicted; nobody was assigned yet."""
    execute(
        marts,
        """
        insert into leadlight_shared.dim_model_versions values
            ('lead_conversion', 'incumbent', 'external'), ('lead_conversion', 'v1', 'champion'),
            ('customer_churn', 'v1', 'champion');
        insert into leadlight_metrics.fct_classifier_metrics values
            ('lead_conversion', 'incumbent', 'live', 'all', 'all_time', 9000, 1, 1, 4000, 4000),
            ('lead_conversion', 'v1', 'live', 'all', 'all_time', 0, 0, 0, 0, 0),
            ('lead_conversion', 'v1', 'backtest', 'all', 'all_time', 1000, 150, 50, 600, 200),
            ('lead_conversion', 'v1', 'backtest', 'all', 'last_7_days', 50, 0, 0, 25, 25),
            ('lead_conversion', 'v1', 'backtest', 'country', 'all_time', 500, 0, 0, 250, 250),
            ('customer_churn', 'v1', 'live', 'all', 'all_time', 200, 100, 20, 60, 20);
        insert into leadlight_metrics.fct_confusion_matrix_daily
        select 'lead_conversion', 'v1', 'backtest', 'all', 0, 25, 8, 2, date '2026-01-01' + day
        from generate_series(0, 39) as day
        union all
        select 'lead_conversion', 'v1', 'backtest', 'all', 5, 20, 500, 0, date '2026-02-20'
        union all
        select 'lead_conversion', 'v1', 'live', 'all', 0, 20, 500, 0, date '2026-01-02'
        """,
    )
    return marts


def plan(settings: Settings, name: str = "two", effect: float = 0.02, **changes: Any) -> Plan:
    with warehouse.connect(settings) as connection:
        return planning.plan(
            connection, settings, name, effect, **({"power": 0.8, "alpha": 0.05} | changes)
        )


def needs(base_rate: float, effect: float, share: float, control_share: float) -> float:
    """Entities that two arms need together with the others, by statsmodels."""
    n_paying = samplesize_proportions_2indep_onetail(
        effect, base_rate, 0.8, ratio=control_share / share, alpha=0.025, alternative="larger"
    )
    return n_paying / share


def assign(settings: Settings, experiment: str, days: dict[str, int]) -> None:
    for day, n in days.items():
        execute(
            settings,
            "insert into scoring.assignments (experiment, entity_id, arm, assigned_at) "
            "select %s, %s || number, case number %% 5 when 0 then 'control' else 'coupon' end, %s "
            "from generate_series(1, %s) as number",
            [experiment, day, day, n],
        )


def test_the_rate_is_that_of_the_control_arm_where_it_has_one(predicted: Settings) -> None:
    execute(
        predicted,
        """
        insert into leadlight_metrics.fct_coupon_uplift values
            ('two', 'coupon', 'all', 'revenue', 12.5, 400),
            ('two', 'coupon', 'country', 'conversion', 0.9, 10),
            ('two', 'coupon', 'all', 'conversion', 0.15, 400),
            ('three', 'large', 'all', 'conversion', null, 0)
        """,
    )
    # 28 days up to the newest, so that the ten of January do not count.
    assign(predicted, "two", {"2026-01-31": 10, "2026-02-02": 70, "2026-03-01": 42})
    found = plan(predicted)
    assert found.base_rate.value == 0.15
    assert "400 entities of the control arm" in found.base_rate.source
    assert found.per_day.value == (70 + 42) / 28
    expected = needs(0.15, 0.02, share=0.8, control_share=0.2)
    assert found.n_entities == pytest.approx(expected, rel=1e-9)
    assert [found.n_in_arm(arm) for arm in found.experiment.arms] == [
        math.ceil(0.2 * expected),
        math.ceil(0.8 * expected),
    ]
    assert found.n_days() == math.ceil(expected / 4)
    # The other experiment has nobody yet.
    assert plan(predicted, "three").base_rate.value == 0.25


def test_without_a_control_arm_it_is_that_below_the_threshold(predicted: Settings) -> None:
    found = plan(predicted)
    assert found.base_rate.value == 200 / 800
    for part in ("800", "backtest", "v1", "14 days"):
        assert part in found.base_rate.source
    # The newest 28 days on which all is known, of the same predictions.
    assert found.per_day.value == 10
    assert "28 days up to 2026-02-09" in found.per_day.source
    assert found.variance_ratio is None


def test_of_all_it_is_the_rate_of_all(predicted: Settings) -> None:
    found = plan(predicted, "everybody")
    assert (found.base_rate.value, found.per_day.value) == (350 / 1000, 25)


def test_where_the_label_says_that_nothing_happened_the_others_convert(predicted: Settings) -> None:
    found = plan(predicted, "stays")
    assert found.base_rate.value == 1 - 120 / 200
    assert (found.per_day, found.n_days()) == (None, None)


def test_every_arm_gets_enough_for_its_comparison(predicted: Settings) -> None:
    found = plan(predicted, "three")
    expected = max(needs(0.25, 0.02, 0.125, 0.25), needs(0.25, 0.02, 0.625, 0.25))
    assert found.n_entities == pytest.approx(expected, rel=1e-9)
    assert [arm.arm for arm in found.experiment.arms] == ["control", "small", "large"]


def test_a_greater_power_a_smaller_alpha_or_effect_need_more(predicted: Settings) -> None:
    n_entities = plan(predicted).n_entities
    assert plan(predicted, power=0.9).n_entities > n_entities
    assert plan(predicted, alpha=0.01).n_entities > n_entities
    assert plan(predicted, effect=0.01).n_entities > 3 * n_entities
    # A coupon that hurts is found as well.
    assert plan(predicted, effect=-0.02).n_entities == pytest.approx(n_entities, rel=0.1)


def test_cuped_saves_what_it_is_known_to_save(predicted: Settings) -> None:
    execute(
        predicted,
        """
        insert into leadlight_metrics.fct_experiment_estimates values
            ('two', 'coupon', 'conversion', 'plain', 1),
            ('two', 'coupon', 'conversion', 'post_stratified', 1.5),
            ('two', 'coupon', 'conversion', 'cuped_score', 1.25),
            ('two', 'coupon', 'conversion', 'cuped_n_page_views', 1.1),
            ('two', 'coupon', 'revenue', 'cuped_score', 3),
            ('three', 'small', 'conversion', 'cuped_score', 1.3),
            ('three', 'large', 'conversion', 'cuped_score', 1.2),
            ('three', 'small', 'conversion', 'cuped_n_page_views', 1.4),
            ('three', 'large', 'conversion', 'cuped_n_page_views', null)
        """,
    )
    found = plan(predicted)
    assert (found.variance_ratio.value, found.variance_ratio.source) == (1.25, "cuped_score")
    control = found.experiment.arms[0]
    assert found.n_in_arm(control, 1.25) == math.ceil(0.2 * found.n_entities / 1.25)
    assert found.n_days(1.25) == math.ceil(found.n_entities / 1.25 / 10)
    # Every arm must have it, and the one that gains least decides.
    found = plan(predicted, "three")
    assert (found.variance_ratio.value, found.variance_ratio.source) == (1.2, "cuped_score")
    said = " ".join(done(predicted, "experiment", "plan", "two", "--effect", "2").split())
    assert "cuped_score makes the variance 1.250 times smaller" in said
    assert "with CUPED" in said


def test_a_plan_can_be_read(predicted: Settings) -> None:
    said = " ".join(done(predicted, "experiment", "plan", "two", "--effect", "2").split())
    found = plan(predicted)
    control, coupon = found.experiment.arms
    for part in (
        "25.00% convert (800 eligible by the backtest predictions of v1, within 14 days)",
        "+2 points, found in 80% of cases",
        "10.0 a day",
        "unknown what it would save",
        f"control 20.0% 0 {found.n_in_arm(control):,}",
        f"coupon 80.0% 20 {found.n_in_arm(coupon):,}",
        f"days {found.n_days():,}",
        "14 days more until the last outcome is known",
    ):
        assert part in said
    assert "days unknown" in " ".join(
        done(predicted, "experiment", "plan", "stays", "--effect", "2").split()
    )


@pytest.mark.parametrize(
    ("name", "points", "parts"),
    [
        ("coupons", "2", ("no experiment coupons", "known: alone, another_event, everybody")),
        ("another_event", "2", ("nobody knows yet", "another_event", "leadlight run")),
        ("alone", "2", ("alone compares nothing", "vars.experiments")),
        ("two", "80", ("25.00% convert", "+80 points make 105.00%", "--effect")),
        ("two", "-25", ("-25 points make 0.00%",)),
    ],
)
def test_what_cannot_be_planned_is_told_in_one_line(
    predicted: Settings, name: str, points: str, parts: tuple[str, ...]
) -> None:
    result = leadlight(predicted, "experiment", "plan", name, "--effect", points)
    assert_one_line(result, *parts)


def test_without_any_outcome_nothing_can_be_planned(marts: Settings) -> None:
    result = leadlight(marts, "experiment", "plan", "two", "--effect", "2")
    assert_one_line(result, "nobody knows yet how many convert without an offer of two")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "Missing option '--effect'"),
        (("--effect", "0"), "no effect cannot be found"),
        (("--effect", "100"), "--effect"),
        (("--effect", "2", "--power", "1"), "--power"),
        (("--effect", "2", "--power", "0.4"), "--power"),
        (("--effect", "2", "--alpha", "0"), "--alpha"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(
    planned: Settings, arguments: tuple[str, ...], part: str
) -> None:
    result = leadlight(planned, "experiment", "plan", "two", *arguments)
    assert_one_line(result, part, exit_code=2)


def test_experiments_are_listed_with_who_is_in_their_arms(marts: Settings) -> None:
    assign(marts, "two", {"2026-02-02": 70, "2026-03-01": 5})
    said = " ".join(done(marts, "experiment", "list").split())
    assert "two starts 2026-02-01, ends 2026-05-01, first assigned 2026-02-02" in said
    assert "control 20.0% 0 15 coupon 80.0% 20 60" in said
    assert "three nobody assigned yet" in said
    assert "control 25.0% 0 0 small 12.5% 5 0 large 62.5% 12.5 0" in said
