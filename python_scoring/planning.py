"""How many entities an experiment needs, and how long it takes to find them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from scipy.stats import norm

from python_scoring.errors import LeadlightError
from python_scoring.experiments import Arm
from python_scoring.settings import Settings
from python_scoring.tasks import Experiment, read_experiments

# Arrivals are counted over so many days, the newest ones.
RECENT_DAYS = 28

# Columns of a confusion matrix: how many are eligible, and how many of them have a positive label.
ELIGIBLE = {
    "all": ("n_mature", "n_true_positives + n_false_negatives"),
    "score_below_threshold": ("n_false_negatives + n_true_negatives", "n_false_negatives"),
}


@dataclass(frozen=True)
class Known:
    """A number that the database knows, and in words where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Plan:
    """What an experiment needs to find an effect on conversion, a difference of rates.

    `n_entities` are all that are assigned together. `variance_ratio` says how many times smaller
    an estimator makes the variance, and with it every number of entities; it and `per_day`, the
    eligible entities that come, are None where nothing is known of them.
    """

    experiment: Experiment
    base_rate: Known
    effect: float
    power: float
    alpha: float
    n_entities: float
    per_day: Known | None
    variance_ratio: Known | None

    def n_in_arm(self, arm: Arm, variance_ratio: float = 1.0) -> int:
        """Return how many entities an arm needs."""
        return math.ceil(arm.share * self.n_entities / variance_ratio)

    def n_days(self, variance_ratio: float = 1.0) -> int | None:
        """Return in how many days that many entities come; None where nobody knows."""
        if self.per_day is None:
            return None
        return math.ceil(self.n_entities / variance_ratio / self.per_day.value)


def plan(
    connection: psycopg.Connection,
    settings: Settings,
    name: str,
    effect: float,
    power: float,
    alpha: float,
) -> Plan:
    """Plan an experiment from the conversion rate and the arrivals that the marts know.

    Args:
        connection: To the target.
        settings: The target.
        name: The experiment.
        effect: The difference between a paying arm and the control arm that is to be found, in
            conversion rates, such as 0.02.
        power: Probability to find it where it is there, in [0.5, 1).
        alpha: Probability to find one where there is none, two-sided, in (0, 1).

    Raises:
        LeadlightError: there is no such experiment, or nothing to plan it by.
    """
    known = {
        experiment.experiment: experiment for experiment in read_experiments(connection, settings)
    }
    if name not in known:
        raise LeadlightError(
            f"there is no experiment {name} in dbt_project.yml (vars.experiments); known: "
            f"{', '.join(known) or 'none'}"
        )
    experiment = known[name]
    base_rate = _control_rate(connection, settings, experiment)
    per_day = _assigned_per_day(connection, experiment)
    # Without a task nobody is predicted.
    version = experiment.task and _preferred_version(connection, settings, experiment)
    if version:
        base_rate = base_rate or _predicted_rate(version)
        per_day = per_day or _predicted_per_day(connection, settings, experiment, version)
    if base_rate is None:
        raise LeadlightError(
            f"nobody knows yet how many convert without an offer of {name}: neither its control "
            "arm nor the predictions of its task have a known outcome; `leadlight run` once they do"
        )
    if not (0 < base_rate.value < 1 and 0 < base_rate.value + effect < 1):
        raise LeadlightError(
            f"{base_rate.value:.2%} convert without an offer of {name} ({base_rate.source}), and "
            f"{100 * effect:+g} points make {base_rate.value + effect:.2%} of it: --effect must "
            "lead from one rate between 0 and 100 % to another"
        )
    return Plan(
        experiment=experiment,
        base_rate=base_rate,
        effect=effect,
        power=power,
        alpha=alpha,
        n_entities=_n_entities(experiment, base_rate.value, effect, power, alpha),
        per_day=per_day,
        variance_ratio=_variance_ratio(connection, settings, experiment),
    )


def sample_size(base_rate: float, effect: float, ratio: float, power: float, alpha: float) -> float:
    """Return how many entities the control arm needs, before they are rounded up.

    For a two-sided test of two proportions by the normal distribution, with the pooled variance
    under the null hypothesis; the other arm has `ratio` times as many (Fleiss, Levin and Paik 2003,
    Statistical Methods for Rates and Proportions, section 4.2, without continuity correction).
    """
    other_rate = base_rate + effect
    pooled_rate = (base_rate + ratio * other_rate) / (1 + ratio)
    sd_without = math.sqrt(pooled_rate * (1 - pooled_rate) * (1 + 1 / ratio))
    sd_with = math.sqrt(base_rate * (1 - base_rate) + other_rate * (1 - other_rate) / ratio)
    return ((norm.isf(alpha / 2) * sd_without + norm.ppf(power) * sd_with) / effect) ** 2


def _n_entities(
    experiment: Experiment, base_rate: float, effect: float, power: float, alpha: float
) -> float:
    """Return how many entities give every arm enough for its comparison with the control arm."""
    shares = {arm.arm: arm.share for arm in experiment.arms if arm.share > 0}
    control_share = shares.pop(experiment.control_arm, None)
    if control_share is None or not shares:
        raise LeadlightError(
            f"experiment {experiment.experiment} compares nothing: its control arm and one other "
            "arm need a share in dbt_project.yml (vars.experiments)"
        )
    return max(
        sample_size(base_rate, effect, share / control_share, power, alpha) / control_share
        for share in shares.values()
    )


def _control_rate(
    connection: psycopg.Connection, settings: Settings, experiment: Experiment
) -> Known | None:
    """Return the conversion rate of the experiment's own control arm."""
    row = _first(
        connection,
        "select control_mean, control_n_mature "
        f"from {settings.relation('metrics', 'fct_coupon_uplift')} "
        "where experiment = %s and metric = 'conversion' and slice_name = 'all' "
        "and control_n_mature > 0 limit 1",
        experiment.experiment,
    )
    if row is None:
        return None
    return Known(row.control_mean, f"{row.control_n_mature:,} entities of the control arm")


def _preferred_version(
    connection: psycopg.Connection, settings: Settings, experiment: Experiment
) -> Any:
    """Return the version whose predictions stand for those to come, with its counts, or None.

    What the champion said live is nearest to what the job will act on; its backtest comes next. The
    task must ask for the event that the experiment asks for.
    """
    n_eligible, n_positives = ELIGIBLE[experiment.eligible]
    return _first(
        connection,
        "select task, model_version, run_kind, tasks.label_rule, tasks.horizon_days, "
        f"{n_eligible} as n_eligible, {n_positives} as n_positives "
        f"from {settings.relation('shared', 'dim_experiments')} as experiments "
        f"join {settings.relation('shared', 'dim_prediction_tasks')} as tasks "
        "using (task, outcome_event) "
        f"join {settings.relation('metrics', 'fct_classifier_metrics')} as metrics using (task) "
        f"join {settings.relation('shared', 'dim_model_versions')} as versions "
        "using (task, model_version) "
        "where experiment = %s and slice_name = 'all' and window_name = 'all_time' "
        f"and {n_eligible} > 0 "
        "order by (status = 'champion') desc, (run_kind = 'live') desc, n_eligible desc, "
        "model_version limit 1",
        experiment.experiment,
    )


def _predicted_rate(version: Any) -> Known:
    """Return how many of those that a version would have made eligible converted."""
    rate = float(version.n_positives / version.n_eligible)
    return Known(
        # Where the label says that nothing happened, the others converted.
        1 - rate if version.label_rule == "absent" else rate,
        f"{version.n_eligible:,} eligible by the {version.run_kind} predictions of "
        f"{version.model_version}, within {version.horizon_days:g} days",
    )


def _assigned_per_day(connection: psycopg.Connection, experiment: Experiment) -> Known | None:
    """Return how many entities the experiment took in a day lately."""
    row = _first(
        connection,
        _per_day(
            "select cast(assigned_at as date) as date_day, 1 as n from scoring.assignments "
            "where experiment = %s"
        ),
        experiment.experiment,
    )
    return row and Known(row.per_day, f"assigned in the {row.n_days} days up to {row.newest}")


def _predicted_per_day(
    connection: psycopg.Connection, settings: Settings, experiment: Experiment, version: Any
) -> Known | None:
    """Return how many entities a day a version would have made eligible lately."""
    n_eligible, _ = ELIGIBLE[experiment.eligible]
    row = _first(
        connection,
        _per_day(
            f"select prediction_date as date_day, {n_eligible} as n "
            f"from {settings.relation('metrics', 'fct_confusion_matrix_daily')} "
            "where task = %s and model_version = %s and run_kind = %s and slice_name = 'all' "
            "and n_pending = 0"
        ),
        *(version.task, version.model_version, version.run_kind),
    )
    return row and Known(row.per_day, f"eligible in the {row.n_days} days up to {row.newest}")


def _per_day(days: str) -> str:
    """Return a query for the mean of `n` over the newest days; no row where there are none."""
    return (
        f"with days as ({days}), recent as (select date_day, n, "
        "max(date_day) over () as newest, "
        f"greatest(min(date_day) over (), max(date_day) over () - {RECENT_DAYS - 1}) as oldest "
        "from days) "
        "select newest, newest - oldest + 1 as n_days, "
        "cast(sum(n) as double precision) / (newest - oldest + 1) as per_day "
        "from recent where date_day >= oldest group by newest, oldest having sum(n) > 0"
    )


def _variance_ratio(
    connection: psycopg.Connection, settings: Settings, experiment: Experiment
) -> Known | None:
    """Return how many times smaller CUPED made the variance, with the best of its covariates."""
    row = _first(
        connection,
        "select estimator, min(variance_ratio) as ratio "
        f"from {settings.relation('metrics', 'fct_experiment_estimates')} "
        "where experiment = %s and metric = 'conversion' and estimator like 'cuped%%' "
        "group by estimator having count(*) = count(variance_ratio) "
        "order by ratio desc, estimator limit 1",
        experiment.experiment,
    )
    return row and Known(row.ratio, row.estimator)


def _first(connection: psycopg.Connection, query: str, *parameters: str) -> Any:
    """Return the first row of a query, None if there is none."""
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(query, parameters).fetchone()
