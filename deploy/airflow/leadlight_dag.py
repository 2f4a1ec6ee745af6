"""The loop as a DAG, a task for each of its parts: copy to the folder of your DAGs.

The workers have a checkout in /opt/leadlight with its .venv and a profiles.yml; the PG* variables
come from their environment.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

PARTS = ("pre", "train", "score", "post")

with DAG(
    "leadlight",
    schedule="17 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"cwd": "/opt/leadlight", "append_env": True},
    tags=["leadlight"],
):
    # Each part takes up where it was, so that another try does no harm.
    parts = [
        BashOperator(
            task_id=part,
            bash_command=f".venv/bin/leadlight run --select {part}",
            retries=1,
            retry_delay=timedelta(minutes=5),
        )
        for part in PARTS
    ]
    freshness = BashOperator(task_id="freshness", bash_command=".venv/bin/dbt source freshness")
    # Fails while an alert of severity error is open.
    status = BashOperator(task_id="status", bash_command=".venv/bin/leadlight status")

    chain(freshness, *parts, status)
