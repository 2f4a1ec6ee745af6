"""What a simulation takes from the project: the registry's experiment and its task, the seeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from python_scoring.errors import LeadlightError

EXPERIMENT = "lead_coupon"
POSTCODES = Path("seeds") / "postcode_socioeconomic_index.csv"


@dataclass(frozen=True)
class ExperimentPlan:
    """The coupon experiment that runs on the incumbent's scores.

    `holdout_share` is the share of the eligible that gets no coupon, `offer_amount` the value of a
    coupon in money, from 5 to 50.
    """

    task: str
    experiment: str
    salt: str
    holdout_share: float
    offer_amount: float
    control_arm: str
    treatment_arm: str


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
    except (KeyError, TypeError) as error:
        raise LeadlightError(
            f"cannot simulate: dbt_project.yml needs the experiment {EXPERIMENT} and its task "
            f"under vars, and has no {error}"
        ) from error
    return {
        "scoring_delay": timedelta(hours=variables["lead_scoring_delay_hours"]),
        "horizon": timedelta(days=task["horizon_days"]),
        "threshold": task["default_threshold"],
        "experiment": ExperimentPlan(
            task=experiment["task"],
            experiment=EXPERIMENT,
            salt=experiment["salt"],
            holdout_share=experiment["holdout_share"],
            offer_amount=experiment["offer_amount"],
            control_arm=experiment["control_arm"],
            treatment_arm=experiment["treatment_arm"],
        ),
        "postcodes": read_postcodes(project_dir / POSTCODES),
    }


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
