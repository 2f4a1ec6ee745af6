"""Fitting: the split in time, the search, the calibration, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import real_data
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import ParameterGrid

from python_scoring import fitting
from python_scoring.errors import LeadlightError
from python_scoring.features import FeatureSpec
from python_scoring.fitting import CANDIDATES, FittedModel, fit, out_of_time_split, scores

PROJECT_DIR = Path(__file__).resolve().parents[2]
Example = tuple[pd.DataFrame, np.ndarray, pd.Series]


def days(n: int) -> pd.Series:
    return pd.Series(pd.date_range("2024-01-01", periods=n, freq="D", tz="UTC"))


def example(n: int = 900, seed: int = 1) -> Example:
    """Rows in no order of time whose log odds are linear in a number and a category."""
    rng = np.random.default_rng(seed)
    matrix = pd.DataFrame({"signal": rng.normal(size=n), "noise": rng.normal(size=n)})
    matrix["source"] = pd.Series(rng.choice(["ad", "mail", "web"], n), dtype=object)
    log_odds = 1.5 * matrix["signal"] + (matrix["source"] == "ad") - 0.5
    labels = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int).to_numpy()
    matrix.loc[rng.random(n) < 0.1, "noise"] = np.nan
    matrix.loc[rng.random(n) < 0.1, "source"] = np.nan
    return matrix, labels, days(n).sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.fixture(scope="module")
def rows() -> Example:
    return example()


@pytest.fixture(scope="module")
def model(rows: Example) -> FittedModel:
    return fit("binary", *rows, seed=7, n_jobs=1)


def assert_same_model(one: FittedModel, other: FittedModel) -> None:
    """Equal in all but the seconds, to the last bit."""
    assert (one.algorithm, one.parameters) == (other.algorithm, other.parameters)
    assert [t.mean_score for t in one.trials] == [t.mean_score for t in other.trials]
    np.testing.assert_array_equal(one.out_of_time_scores, other.out_of_time_scores)


@pytest.mark.parametrize(
    "days",
    [[*range(100)], [0] * 80 + [1] * 20, [0, 1], [0] + [9] * 50, [*range(10)] * 7],
    ids=["even", "two times", "two rows", "one old row", "many rows a time"],
)
def test_a_split_has_rows_on_both_sides_and_no_time_on_both(days):
    as_of_at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(pd.Series(days), unit="D")
    as_of_at = as_of_at.sample(frac=1, random_state=0)
    out_of_time = out_of_time_split(as_of_at)
    assert out_of_time.any()
    assert not out_of_time.all()
    assert as_of_at[~out_of_time].max() < as_of_at[out_of_time].min()


def test_of_evenly_spaced_rows_the_last_fifth_is_out_of_time():
    assert out_of_time_split(days(100)).tolist() == [False] * 80 + [True] * 20


def test_every_point_of_every_grid_is_tried_and_the_best_wins(model):
    tried = [(trial.algorithm, trial.parameters) for trial in model.trials]
    assert tried == [
        (algorithm, parameters)
        for algorithm, candidate in CANDIDATES["binary"].items()
        for parameters in ParameterGrid(candidate.grid)
    ]
    best = max(model.trials, key=lambda trial: trial.mean_score)
    assert (model.algorithm, model.parameters) == (best.algorithm, best.parameters)
    assert all(t.mean_score < 0 and t.std_score >= 0 and t.fit_seconds > 0 for t in model.trials)


def test_the_winner_is_judged_on_the_out_of_time_rows(rows, model):
    matrix, labels, as_of_at = rows
    recent = out_of_time_split(as_of_at)
    np.testing.assert_array_equal(model.out_of_time_index, np.flatnonzero(recent))
    np.testing.assert_array_equal(model.out_of_time_scores, scores(model.estimator, matrix[recent]))
    assert model.metrics == {
        "log_loss": log_loss(labels[recent], model.out_of_time_scores),
        "brier_score": brier_score_loss(labels[recent], model.out_of_time_scores),
        "roc_auc": roc_auc_score(labels[recent], model.out_of_time_scores),
    }
    assert (model.n_trained, model.n_judged) == (720, 180)
    assert (model.trained_from, model.judged_through) == (as_of_at.min(), as_of_at.max())
    assert model.judged_from - model.trained_through == pd.Timedelta(days=1)


def test_what_comes_out_of_time_changes_nothing_but_the_judgement(rows, model):
    matrix, labels, as_of_at = rows
    recent = out_of_time_split(as_of_at)
    other_matrix = matrix.copy()
    other_matrix.loc[recent, "signal"] += 100
    other_matrix.loc[recent, "source"] = "other"
    other = fit("binary", other_matrix, np.where(recent, 1 - labels, labels), as_of_at, seed=7)
    assert other.metrics != model.metrics
    assert [t.mean_score for t in other.trials] == [t.mean_score for t in model.trials]
    np.testing.assert_array_equal(scores(other.estimator, matrix), scores(model.estimator, matrix))


def test_a_seed_gives_the_same_model_on_any_number_of_cores(rows, model):
    assert_same_model(fit("binary", *rows, seed=7, n_jobs=2), model)


def test_another_seed_draws_other_folds(rows, model):
    other = fit("binary", *rows, seed=8)
    assert [t.mean_score for t in other.trials] != [t.mean_score for t in model.trials]


def test_scores_are_calibrated_probabilities(rows, model):
    _, labels, _ = rows
    fresh_matrix, fresh_labels, _ = example(n=20_000, seed=2)
    fresh = scores(model.estimator, fresh_matrix)
    assert 0 < fresh.min() < fresh.max() < 1
    # Calibrated beats the best constant, and no stretching of the log odds would do much better.
    log_odds = np.log(fresh / (1 - fresh))
    losses = {k: log_loss(fresh_labels, 1 / (1 + np.exp(-k * log_odds))) for k in (0.5, 1, 2)}
    assert min(losses, key=losses.get) == 1
    assert losses[1] < log_loss(fresh_labels, np.full(len(fresh), labels.mean()))


def test_the_kind_of_the_data_decides_which_algorithm_wins(model):
    assert model.algorithm == "logistic_regression"
    rng = np.random.default_rng(3)
    matrix = pd.DataFrame(rng.normal(size=(900, 2)), columns=["a", "b"])
    labels = ((matrix["a"] > 0) ^ (matrix["b"] > 0)).astype(int).to_numpy()
    exclusive_or = fit("binary", matrix, labels, days(900), seed=7)
    assert exclusive_or.algorithm == "gradient_boosting"
    assert exclusive_or.metrics["roc_auc"] > 0.95


each_algorithm = pytest.mark.parametrize("algorithm", list(CANDIDATES["binary"]))


def calibrated(algorithm: str, matrix: pd.DataFrame, labels: np.ndarray) -> CalibratedClassifierCV:
    estimator = fitting._pipeline("binary", algorithm, matrix, seed=7)
    return fitting.calibrate(estimator, matrix, labels)


@pytest.mark.filterwarnings("error")
@each_algorithm
def test_unseen_categories_and_missing_values_get_a_score(rows, algorithm):
    matrix, labels, _ = rows
    estimator = calibrated(algorithm, matrix, labels)
    strange = matrix.head(3).assign(source=pd.Series(["unseen", np.nan, "web"], dtype=object))
    strange.loc[2, ["signal", "noise"]] = np.nan
    assert np.isfinite(scores(estimator, strange)).all()


def test_to_gradient_boosting_an_unseen_category_is_a_missing_one(rows):
    matrix, labels, _ = rows
    estimator = calibrated("gradient_boosting", matrix, labels)
    np.testing.assert_array_equal(
        scores(estimator, matrix.assign(source="unseen")),
        scores(estimator, matrix.assign(source=pd.Series(np.nan, matrix.index, dtype=object))),
    )


@pytest.mark.filterwarnings("error")
@each_algorithm
@pytest.mark.parametrize("column", ["signal", "source"])
def test_a_column_may_be_filled_in_a_few_rows_or_the_last_ones_or_none(rows, algorithm, column):
    matrix, labels, _ = rows
    for filled in ([], [5], range(800, 900)):
        sparse = matrix.assign(**{column: matrix[column].where(matrix.index.isin(filled))})
        estimator = calibrated(algorithm, sparse[[column]], labels)
        assert np.isfinite(scores(estimator, matrix[[column]])).all()


@pytest.mark.filterwarnings("error")
@each_algorithm
def test_hundreds_of_categories_are_no_obstacle(algorithm):
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 400, 3_000)
    matrix = pd.DataFrame({"town": pd.Series([f"town {code}" for code in codes], dtype=object)})
    labels = (rng.random(3_000) < np.where(codes < 200, 0.9, 0.1)).astype(int)
    estimator = calibrated(algorithm, matrix, labels)
    assert np.isfinite(scores(estimator, matrix)).all()


@each_algorithm
def test_one_wild_value_does_not_spoil_the_other_scores(rows, algorithm):
    matrix, labels, _ = rows
    wild = matrix.copy()
    wild.loc[3, "noise"] = 3e38
    others = matrix.drop(index=3)
    spoilt = scores(calibrated(algorithm, wild, labels), others)
    sound = scores(calibrated(algorithm, matrix, labels), others)
    assert log_loss(np.delete(labels, 3), spoilt) < log_loss(np.delete(labels, 3), sound) + 0.01


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_warnings_do_not_reach_the_terminal(n_jobs):
    script = f"""
import numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
from python_scoring import fitting

def build(categorical, seed):
    pipeline = fitting._logistic_regression(categorical, seed)
    return pipeline.set_params(model=LogisticRegression(max_iter=1))

fitting.CANDIDATES["binary"] = {{"unfinished": fitting.Candidate(build, {{"C": [1.0, 1e6]}})}}
rng = np.random.default_rng(1)
matrix = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
as_of_at = pd.Series(pd.date_range("2024-01-01", periods=300, tz="UTC"))
fitting.fit("binary", matrix, matrix["a"] > 0, as_of_at, seed=7, n_jobs={n_jobs})
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_DIR, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_an_unknown_kind_is_refused(rows):
    with pytest.raises(LeadlightError, match="kind ranking"):
        fit("ranking", *rows, seed=7)


def test_no_rows_are_refused(rows):
    matrix, labels, as_of_at = rows
    with pytest.raises(LeadlightError, match="no rows to train on"):
        fit("binary", matrix.head(0), labels[:0], as_of_at.head(0), seed=7)


def test_no_features_are_refused(rows):
    matrix, labels, as_of_at = rows
    with pytest.raises(LeadlightError, match="no features to train on"):
        fit("binary", matrix[[]], labels, as_of_at, seed=7)


def test_rows_of_one_day_are_refused(rows):
    matrix, labels, as_of_at = rows
    one_day = pd.Series([as_of_at.iloc[0]] * len(matrix))
    with pytest.raises(LeadlightError, match="all 900 rows to train on are of one day"):
        fit("binary", matrix, labels, one_day, seed=7)


@pytest.mark.parametrize(
    ("n_positive_past", "n_positive_recent", "message"),
    [
        (0, 10, "to train on .* 0 positive and 80 negative rows, at least 3"),
        (2, 10, "to train on .* 2 positive and 78 negative rows, at least 3"),
        (78, 10, "to train on .* 78 positive and 2 negative rows, at least 3"),
        (40, 0, "to judge the model by .* 0 positive and 20 negative rows, at least 1"),
        (40, 20, "to judge the model by .* 20 positive and 0 negative rows, at least 1"),
    ],
)
def test_too_few_outcomes_of_a_class_are_refused(n_positive_past, n_positive_recent, message):
    labels = np.zeros(100, dtype=int)
    labels[:n_positive_past] = 1
    labels[80 : 80 + n_positive_recent] = 1
    matrix = pd.DataFrame({"n": np.arange(100.0)})
    with pytest.raises(LeadlightError, match=message) as refused:
        fit("binary", matrix, labels, days(100), seed=7)
    assert "\n" not in refused.value.message


def test_as_many_rows_of_a_class_as_folds_are_enough():
    labels = np.zeros(100, dtype=int)
    labels[[0, 30, 60, 90]] = 1
    fitted = fit("binary", pd.DataFrame({"n": np.arange(100.0)}), labels, days(100), seed=7)
    assert np.isfinite(fitted.out_of_time_scores).all()


def test_online_shoppers_of_february_to_october_foretell_november_and_december():
    sessions = pd.read_csv(real_data("online_shoppers_intention.csv.gz"), sep=";")
    month = pd.to_datetime("2018 " + sessions["Month"].str[:3], format="%Y %b", utc=True)
    frame = sessions.drop(columns=["Month", "Revenue"])
    matrix = FeatureSpec.learn(frame).matrix(frame)
    fitted = fit("binary", matrix, sessions["Revenue"].to_numpy(), month, seed=7)
    assert (fitted.n_trained, fitted.n_judged) == (7_605, 4_725)
    assert fitted.judged_from == pd.Timestamp("2018-11-01", tz="UTC")
    assert fitted.metrics["roc_auc"] > 0.8
