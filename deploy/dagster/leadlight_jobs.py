"""The loop as a Dagster job, an op for each of its parts: `dagster dev -f leadlight_jobs.py`.

The code location has a checkout in /opt/leadlight with its .venv and a profiles.yml; the PG*
variables come from its environment.
"""

import subprocess

from dagster import Definitions, In, Nothing, OpDefinition, Out, RetryPolicy, ScheduleDefinition
from dagster import job as as_job
from dagster import op as as_op


def step(name: str, *command: str, retries: int = 0) -> OpDefinition:
    """Return an op that runs a command of the checkout after the op before it."""

    @as_op(
        name=name,
        ins={"after": In(Nothing)},
        out=Out(Nothing),
        retry_policy=RetryPolicy(max_retries=retries, delay=300),
    )
    def run() -> None:
        subprocess.run(command, cwd="/opt/leadlight", check=True)

    return run


freshness = step("freshness", ".venv/bin/dbt", "source", "freshness")
# Each part takes up where it was, so that another try does no harm.
pre, train, score, post = (
    step(part, ".venv/bin/leadlight", "run", "--select", part, retries=1)
    for part in ("pre", "train", "score", "post")
)
# Fails while an alert of severity error is open.
status = step("status", ".venv/bin/leadlight", "status")


@as_job
def leadlight() -> None:
    """Go once round the loop, and look at the alerts."""
    status(post(score(train(pre(freshness())))))


definitions = Definitions(
    jobs=[leadlight],
    schedules=[ScheduleDefinition(job=leadlight, cron_schedule="17 * * * *")],
)
