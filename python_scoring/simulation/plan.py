"""What a simulation takes from the project: the registry's experiment and its task, the seeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from python_scoring.errors import LeadlightError
from python_scoring.experiments import Arm

EXPERIMENT = "lead_coupon"
POSTCODES = Path("seeds") / "postcode_socioeconomic_index.csv"


@dataclass(frozen=True)
class ExperimentPlan:
    """The coupon experiment that runs on the incumbent's scores.

    `arms` stand as `assign_arm` takes them; what a paying arm offers is a coupon worth from 5 to
    50, in money.
    """

    task: str
    experiment: str
    salt: str
    arms: tuple[Arm, ...]


def plan_from_project(project_dir: Path) -> dict[str, Any]:
    """Return the keyword arguments of `simulate` that the registry and the seeds settle.

    Raises:
        LeadlightError: dbt_project.yml has no experiment `lead_coupon`, or its task is missing, or
            the seed of postcodes cannot be read.
    """
    project = yaml.safe_load((project_dir / "dbt_project.yml").read_text(encoding="utf-8"))
    variables = project["vars"]
    try:
        experiment = variables["experiments"][EXPERIMENT]
        task = variables["prediction_tasks"][experiment["task"]]
        plan = ExperimentPlan(
            task=experiment["task"],
            experiment=EXPERIMENT,
            salt=experiment["salt"],
            arms=plan_arms(experiment["control_arm"], experiment["arms"]),
        )
    except (KeyError, TypeError) as error:
        raise LeadlightError(
            f"cannot simulate: dbt_project.yml needs the experiment {EXPERIMENT} and its task "
            f"under vars, and has no {error}"
        ) from error
    return {
        "scoring_delay": timedelta(hours=variables["lead_scoring_delay_hours"]),
        "horizon": timedelta(days=task["horizon_days"]),
        "threshold": task["default_threshold"],
        "experiment": plan,
        "postcodes": read_postcodes(project_dir / POSTCODES),
    }


def plan_arms(control_arm: str, arms: dict[str, dict[str, Any]]) -> tuple[Arm, ...]:
    """Return arms of the registry as dim_experiment_arms has them: the control arm first."""
    in_order = sorted(arms, key=lambda arm: arm != control_arm)
    total = sum(fields["share"] for fields in arms.values())
    share_from = 0.0
    planned = []
    for arm in in_order:
        share = arms[arm]["share"] / total
        offer_amount = Decimal(str(arms[arm].get("offer_amount", 0)))
        planned.append(Arm(arm, offer_amount, share, share_from))
        share_from += share
    return tuple(planned)


def read_postcodes(path: Path) -> pd.DataFrame:
    """Return one row per (country, postcode), both text, with its socioeconomic index in [0, 100].

    Raises:
        LeadlightError: the file is missing, or is no such table.
    """
    columns = {"country": "str", "postcode": "str", "socioeconomic_index": "float64"}
    try:
        # "NA" is a country, and a postcode keeps its leading zeros.
        frame = pd.read_csv(path, usecols=list(columns), dtype=columns, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise LeadlightError(
            f"cannot simulate: {path} must be a table of {', '.join(columns)} ({error})"
        ) from error
    return frame[list(columns)]
