"""Are the intervals of experiments what they say? Simulated ones, whose truth is known, tell.

    python -m benchmarks.validity --experiments 1000

Half the work is done by the very models that users read: the simulated assignments go into
`int_labelled_assignments`, and all that is counted here is read from the marts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import click
import numpy as np
import pandas as pd
import psycopg
import yaml

from python_scoring import warehouse
from python_scoring.dbt_runner import run_dbt
from python_scoring.settings import Settings

FIRST_DAY = date(2026, 1, 1)
MARGIN, COUPON = 0.4, 10.0
# Scores are the probabilities of an order without a coupon, even between these two.
SCORES = (0.02, 0.78)
# An order's worth is lognormal.
LOG_AMOUNT = (3.9, 0.5)
LABELLED = "leadlight_intermediate.int_labelled_assignments"
# What has to stand before assignments can be filled in, and what is computed from them.
GROUND = ("+int_labelled_assignments",)
MODELS = (
    "dim_experiments",
    "dim_experiment_arms",
    "int_experiment_combinations_daily",
    "int_experiment_daily",
    "int_experiment_scores_daily",
    "int_experiment_score_totals",
    "int_experiment_covariates_daily",
    "int_experiment_covariate_totals",
    "int_experiment_windows",
    "int_experiment_comparisons",
    "fct_experiment_estimates",
    "fct_coupon_uplift_daily",
)


@dataclass(frozen=True)
class Trial:
    """Many experiments of one kind; `effect` is what a coupon adds to everybody's probability.

    Without an effect there is no coupon either: two arms that are alike, A/A.
    """

    n_experiments: int
    n_days: int
    n_a_day: int
    effect: float
    seed: int

    @property
    def coupon(self) -> float:
        """What a coupon takes off an order, in money."""
        return COUPON if self.effect else 0.0

    def truth(self) -> dict[str, float]:
        """Return the true difference of conversion rates and net money, and the true lift."""
        rate = sum(SCORES) / 2
        amount = float(np.exp(LOG_AMOUNT[0] + LOG_AMOUNT[1] ** 2 / 2))
        net = (rate + self.effect) * (MARGIN * amount - self.coupon) - rate * MARGIN * amount
        return {"conversion": self.effect, "lift": self.effect / rate, "net_money": net}

    def registry(self) -> dict[str, Any]:
        """Return the dbt variables of all the experiments."""
        task = {"kind": "binary", "entity": "user", "outcome_event": "order_completed"}
        task |= {"label_rule": "occurs", "horizon_days": 1, "default_threshold": 0.5}
        experiment = {"task": "orders", "entity": "user", "eligible": "all", "salt": "validity"}
        experiment |= {"control_arm": "control", "margin": MARGIN, "horizon_days": 1}
        experiment |= {"outcome_event": "order_completed"}
        experiment["arms"] = {
            "control": {"share": 0.5},
            "coupon": {"share": 0.5, "offer_amount": self.coupon},
        }
        names = [f"trial_{number}" for number in range(self.n_experiments)]
        return {
            "prediction_tasks": {"orders": task},
            "experiments": dict.fromkeys(names, experiment),
        }

    def draw(self) -> pd.DataFrame:
        """Return one row per assignment of every experiment, with what came of it."""
        rng = np.random.default_rng(self.seed)
        n = self.n_experiments * self.n_days * self.n_a_day
        position = np.arange(n)
        score = rng.uniform(*SCORES, n)
        has_coupon = rng.random(n) < 0.5
        converts = rng.random(n) < score + self.effect * has_coupon
        redeemed = converts * has_coupon * self.coupon
        amount = np.round(rng.lognormal(*LOG_AMOUNT, n), 2)
        experiment = position // (self.n_days * self.n_a_day)
        day = position // self.n_a_day % self.n_days
        return pd.DataFrame(
            {
                "assignment_id": [f"{number}" for number in position],
                "experiment": [f"trial_{number}" for number in experiment],
                "arm": np.where(has_coupon, "coupon", "control"),
                "assignment_date": [FIRST_DAY + timedelta(days=int(number)) for number in day],
                "score": score,
                "n_outcomes": converts.astype(int),
                # What is paid: the worth of the order less the coupon.
                "outcome_amount": np.where(converts, np.round(amount - redeemed, 2), 0),
                "n_redeemed": (redeemed > 0).astype(int),
                "redeemed_amount": redeemed,
            }
        )


def run(settings: Settings, trial: Trial) -> dict[str, Any]:
    """Fill in the assignments of a trial, build the marts, and count."""
    variables = yaml.safe_dump(trial.registry(), sort_keys=False)
    run_dbt(settings, ["run", "--select", *GROUND], variables)
    with warehouse.connect(settings) as connection:
        fill(connection, trial.draw())
        run_dbt(settings, ["run", "--full-refresh", "--select", *MODELS], variables)
        return _counted(connection, trial)


def fill(connection: psycopg.Connection, assignments: pd.DataFrame) -> None:
    """Put matured assignments into `int_labelled_assignments`, as a build would have."""
    constants = {
        "task": "orders",
        "label_status": "mature",
        "offer_amount": 0,
        "n_offered": 0,
        "n_seen": 0,
        "is_exposed_before": False,
        "change_number": 1,
    }
    columns = [*assignments.columns, "entity_id", *constants]
    connection.execute(f"truncate {LABELLED}")
    warehouse.copy_rows(
        connection,
        LABELLED,
        columns,
        (
            (*row, row[0], *constants.values())
            for row in assignments.itertuples(index=False, name=None)
        ),
    )
    connection.execute(f"analyze {LABELLED}")


def _counted(connection: psycopg.Connection, trial: Trial) -> dict[str, Any]:
    """Return shares of experiments: rejected at the end, at any look, and covered."""

    def value(query: str, *parameters: Any) -> float:
        return float(connection.execute(query, parameters).fetchone()[0])

    estimates = "from leadlight_metrics.fct_experiment_estimates"
    truth = trial.truth()
    estimators = ("plain", "post_stratified", "cuped_score")
    covered = {
        estimator: {
            "conversion": value(
                f"select avg((%s between difference_lower and difference_upper)::int) {estimates} "
                "where metric = 'conversion' and estimator = %s",
                *(truth["conversion"], estimator),
            ),
            "lift": value(
                "select avg((%s between relative_lift_lower and relative_lift_upper)::int) "
                f"{estimates} where metric = 'conversion' and estimator = %s",
                *(truth["lift"], estimator),
            ),
            "net_money": value(
                f"select avg((%s between difference_lower and difference_upper)::int) {estimates} "
                "where metric = 'net_money' and estimator = %s",
                *(truth["net_money"], estimator),
            ),
        }
        for estimator in estimators
    }
    variance = {
        estimator: {
            "stated": value(
                f"select avg(variance_ratio) {estimates} where metric = 'conversion' "
                "and estimator = %s",
                estimator,
            ),
            "found": value(
                "select (variance(difference) filter (where estimator = 'plain')) "
                f"/ (variance(difference) filter (where estimator = %s)) {estimates} "
                "where metric = 'conversion'",
                estimator,
            ),
        }
        for estimator in estimators[1:]
    }
    return {
        "experiments": trial.n_experiments,
        "assignments_each": trial.n_days * trial.n_a_day,
        "effect": trial.effect,
        "rejected_at_the_end": {
            estimator: value(
                f"select avg((p_value < 0.05)::int) {estimates} where metric = 'conversion' "
                "and estimator = %s",
                estimator,
            )
            for estimator in estimators
        },
        "excludes_the_truth_at_any_look": value(
            "select avg(excludes::int) from (select bool_or(%s < always_valid_lower "
            "or %s > always_valid_upper) as excludes "
            "from leadlight_metrics.fct_coupon_uplift_daily "
            "where metric = 'conversion' and window_name = 'to_date' group by experiment) as looks",
            *(truth["conversion"], truth["conversion"]),
        ),
        "covered": covered,
        "variance_ratio": variance,
    }


@click.command()
@click.option("--experiments", default=1000, show_default=True, help="How many of either kind.")
@click.option("--days", default=30, show_default=True, help="How long each runs.")
@click.option("--a-day", default=60, show_default=True, help="How many are assigned a day.")
@click.option("--effect", default=0.04, show_default=True, help="What a coupon adds to a rate.")
@click.option("--seed", default=2026, show_default=True)
def main(experiments: int, days: int, a_day: int, effect: float, seed: int) -> None:
    """Simulate experiments without and with an effect, and count what the marts say of them."""
    from benchmarks.server import throwaway_server

    for kind, its_effect in (("A/A", 0.0), ("A/B", effect)):
        with throwaway_server() as server:
            found = run(server.settings, Trial(experiments, days, a_day, its_effect, seed))
        click.echo(f"{kind}: {json.dumps(found, indent=2)}")


if __name__ == "__main__":
    main()
