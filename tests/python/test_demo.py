"""The first thing that anybody runs: everything once, at full grids, on made-up data."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from helpers import EXPERIMENTS, PROJECT_DIR, TASKS, done, fetch
from sklearn.model_selection import ParameterGrid

from python_scoring import cli
from python_scoring.candidates import CANDIDATES
from python_scoring.clustering import N_SEGMENTS
from python_scoring.settings import Settings

N_TRIALS = {
    kind: sum(len(ParameterGrid(candidate.grid)) for candidate in candidates.values())
    for kind, candidates in CANDIDATES.items()
} | {"clustering": len(N_SEGMENTS)}


def test_demo_tells_what_won_for_each_task(
    make_database: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_database("demo")
    said = done(settings, "demo", "--leads", "1500", "--days", "60")
    won = {
        task: (algorithm.replace(" ", "_"), int(n_trials))
        for task, algorithm, n_trials in re.findall(
            r"^(\w+)  champion v1: ([a-z ]+), the best of (\d+) trials on [\d,]+ rows",
            said,
            flags=re.MULTILINE,
        )
    }
    best = fetch(
        settings,
        "select distinct on (task) task, trials.algorithm from scoring.training_trials as trials "
        "order by task, mean_score desc, trial",
    )
    assert won == {task: (algorithm, N_TRIALS[TASKS[task]["kind"]]) for task, algorithm in best}
    assert set(won) == set(TASKS)
    for experiment in EXPERIMENTS:
        assert f"{experiment}  " in said
    assert "Where to go from here" in said
    report = PROJECT_DIR / "target" / "report.html"
    assert said.splitlines()[-1] == f"report: {report}"
    assert "task-lead_conversion" in report.read_text(encoding="utf-8")

    # Once more, it makes up nothing: what `run` repeats is tested with the loop.
    monkeypatch.setattr(cli, "run_loop", lambda *arguments, **options: None)
    repeated = done(settings, "demo")
    assert "there are events already, nothing to simulate" in repeated
    summary = said[said.index("Events  ") :]
    assert repeated[repeated.index("Events  ") :].split("took")[0] == summary.split("took")[0]
