"""Fitting: the split in time, the search, the response, the judgement, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import real_data
from imblearn.over_sampling import SMOTE
from joblib import parallel_config
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import delayed

from python_scoring import candidates, fitting
from python_scoring.candidates import CANDIDATES, Candidate, fit_pipeline
from python_scoring.errors import LeadlightError, NotEnoughData
from python_scoring.features import FeatureSpec
from python_scoring.fitting import (
    RESPONSES,
    FittedModel,
    FlooredResponse,
    Predictor,
    SigmoidResponse,
    fit,
    one_thread_a_fit,
    out_of_time_split,
    predict,
    run_within,
)

PROJECT_DIR = Path(__file__).resolve().parents[2]
Example = tuple[pd.DataFrame, np.ndarray, pd.Series]
ALGORITHMS = [(kind, algorithm) for kind, tried in CANDIDATES.items() for algorithm in tried]

each_kind = pytest.mark.parametrize("kind", list(CANDIDATES))
each_algorithm = pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)


def days(n: int, rows_a_day: int = 1) -> pd.Series:
    day = pd.to_timedelta(np.arange(n) // rows_a_day, unit="D")
    return pd.Series(pd.Timestamp("2024-01-01", tz="UTC") + day)


def example(kind: str, n: int = 600, seed: int = 1) -> Example:
    """Rows in no order of time, with labels that are linear in a number and a category.

    Those of the regression are amounts: none is negative, and about half are zero.
    """
    rng = np.random.default_rng(seed)
    matrix = pd.DataFrame({"signal": rng.normal(size=n), "noise": rng.normal(size=n)})
    matrix["source"] = pd.Series(rng.choice(["ad", "mail", "web"], n), dtype=object)
    strength = 1.5 * matrix["signal"] + (matrix["source"] == "ad") - 0.5
    if kind == "binary":
        labels = (rng.random(n) < expit(strength)).astype(int).to_numpy()
    else:
        labels = np.maximum(0, 20 * strength + rng.normal(scale=5, size=n)).round(2).to_numpy()
    matrix.loc[rng.random(n) < 0.1, "noise"] = np.nan
    matrix.loc[rng.random(n) < 0.1, "source"] = np.nan
    return matrix, labels, days(n).sample(frac=1, random_state=seed).reset_index(drop=True)


def rare(n: int, seed: int) -> Example:
    """Rows of which 5 % are positive."""
    rng = np.random.default_rng(seed)
    matrix = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    log_odds = 1.2 * matrix["a"] + 0.5 * matrix["b"] - 3.6
    return matrix, (rng.random(n) < expit(log_odds)).astype(int).to_numpy(), days(n, 50)


@pytest.fixture(scope="module", params=list(CANDIDATES))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def rows(kind: str) -> Example:
    return example(kind)


@pytest.fixture(scope="module")
def model(kind: str, rows: Example) -> FittedModel:
    return fit(kind, *rows, seed=7, n_jobs=1)


def quick(kind: str, *example: Any, **options: Any) -> FittedModel:
    """Fit with one point for each algorithm."""
    return fit(kind, *example, **{"seed": 7, "n_jobs": 1, "budget_seconds": 0, **options})


def predictor(kind: str, algorithm: str, matrix: pd.DataFrame, labels: np.ndarray) -> Predictor:
    """Fit the first point of an algorithm, and its response on the same rows."""
    candidate = CANDIDATES[kind][algorithm]
    with one_thread_a_fit(1):
        pipeline = fit_pipeline(candidate, ParameterGrid(candidate.grid)[0], matrix, labels, 7)
        response = RESPONSES[kind]
        return Predictor(pipeline, response.learn(response.read(pipeline, matrix), labels))


@pytest.fixture
def linear_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the first algorithm of each kind, for what does not depend on the algorithm."""
    for kind, tried in list(CANDIDATES.items()):
        first = next(iter(tried))
        monkeypatch.setitem(CANDIDATES, kind, {first: tried[first]})


def assert_same_model(one: FittedModel, other: FittedModel) -> None:
    """Equal in all but the seconds, to the last bit."""
    assert (one.algorithm, one.parameters) == (other.algorithm, other.parameters)
    assert [t.mean_score for t in one.trials] == [t.mean_score for t in other.trials]
    np.testing.assert_array_equal(one.out_of_time_predictions, other.out_of_time_predictions)


# The split in time


@pytest.mark.parametrize(
    "day_numbers",
    [[*range(100)], [0] * 80 + [1] * 20, [0, 1], [0] + [9] * 50, [*range(10)] * 7],
    ids=["even", "two days", "two rows", "one old row", "many rows a day"],
)
def test_a_split_has_rows_on_both_sides_and_no_day_on_both(day_numbers):
    midnight = pd.Timestamp("2024-01-01", tz="UTC")
    as_of_at = midnight + pd.to_timedelta(pd.Series(day_numbers), unit="D")
    as_of_at = as_of_at + pd.to_timedelta(np.arange(len(as_of_at)) % 24, unit="h")
    as_of_at = as_of_at.sample(frac=1, random_state=0)
    out_of_time = out_of_time_split(as_of_at)
    assert out_of_time.any()
    assert not out_of_time.all()
    last_day = as_of_at[~out_of_time].dt.floor("D").max()
    assert last_day < as_of_at[out_of_time].dt.floor("D").min()


def test_the_last_fifth_of_the_days_is_out_of_time():
    assert out_of_time_split(days(100)).tolist() == [False] * 80 + [True] * 20
    assert out_of_time_split(days(100, rows_a_day=10)).tolist() == [False] * 80 + [True] * 20


# The search


def test_every_point_of_every_grid_is_tried_and_the_best_wins(kind, model):
    tried = [(trial.algorithm, trial.parameters) for trial in model.trials]
    expected = [
        (algorithm, parameters)
        for algorithm, candidate in CANDIDATES[kind].items()
        for parameters in ParameterGrid(candidate.grid)
    ]
    assert sorted(map(str, tried)) == sorted(map(str, expected))
    assert [algorithm for algorithm, _ in tried[: len(CANDIDATES[kind])]] == list(CANDIDATES[kind])
    best = max(model.trials, key=lambda trial: trial.mean_score)
    assert (model.algorithm, model.parameters) == (best.algorithm, best.parameters)
    assert all(t.mean_score < 0 and t.std_score >= 0 and t.fit_seconds > 0 for t in model.trials)
    assert model.n_trials_left_out == 0


def test_without_time_each_algorithm_is_tried_once_and_the_rest_is_counted(kind, rows, model):
    hurried = quick(kind, *rows, n_jobs=2)
    n_algorithms = len(CANDIDATES[kind])
    assert [t.mean_score for t in hurried.trials] == [
        t.mean_score for t in model.trials[:n_algorithms]
    ]
    assert hurried.n_trials_left_out == len(model.trials) - n_algorithms


def only_logistic(monkeypatch: pytest.MonkeyPatch, grid: dict[str, list[Any]]) -> None:
    """Leave a logistic regression on the columns as they are."""

    def build(categorical: list[str], seed: int) -> Pipeline:
        return Pipeline([("columns", "passthrough"), ("model", LogisticRegression())])

    monkeypatch.setitem(CANDIDATES, "binary", {"only": Candidate(build, [grid])})


def out_of_fold(matrix: pd.DataFrame, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fold of each row, and what a logistic regression says without that fold."""
    fold = fitting._folds(labels.astype(float), np.arange(len(labels)), 7)
    log_odds = np.empty(len(labels))
    for k in range(3):
        model = LogisticRegression().fit(matrix[fold != k], labels[fold != k])
        log_odds[fold == k] = model.decision_function(matrix[fold == k])
    return fold, log_odds


def test_a_score_is_the_mean_loss_of_the_folds_under_the_response_of_the_others(monkeypatch):
    only_logistic(monkeypatch, {"C": [1.0]})
    matrix, labels, as_of_at = rare(2_000, seed=3)
    trial = quick("binary", matrix, labels, as_of_at).trials[0]
    past = ~out_of_time_split(as_of_at)
    y = labels[past]
    fold, log_odds = out_of_fold(matrix[past], y)
    losses = []
    for k in range(3):
        sigmoid = SigmoidResponse.learn(log_odds[fold != k], y[fold != k])
        losses.append(log_loss(y[fold == k], sigmoid(log_odds[fold == k])))
    assert trial.mean_score == pytest.approx(-np.mean(losses))
    assert trial.std_score == pytest.approx(np.std(losses))


def test_the_winners_response_is_learned_from_its_own_scores_out_of_fold(monkeypatch):
    # The first point says next to nothing, so the response to it would be another.
    only_logistic(monkeypatch, {"C": [1e-6, 1.0]})
    matrix, labels, as_of_at = rare(2_000, seed=3)
    fitted = fit("binary", matrix, labels, as_of_at, seed=7, n_jobs=1)
    assert fitted.parameters == {"C": 1.0}
    past = ~out_of_time_split(as_of_at)
    _, log_odds = out_of_fold(matrix[past], labels[past])
    expected = SigmoidResponse.learn(log_odds, labels[past])
    found = fitted.estimator.response
    assert (found.slope, found.intercept) == pytest.approx((expected.slope, expected.intercept))


def test_points_begin_while_there_is_time_and_not_before_a_process_is_free(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def job(point: int) -> int:
        clock[0] += 3
        return point

    with parallel_config("threading", n_jobs=2):
        results = run_within(10, range(20), 1, lambda point: [delayed(job)(point)])
    # At 0, 0 and then as one of two is done: at 3, 6, 9, or a step later.
    assert len(results) in (4, 5)
    assert results == [[point] for point in range(len(results))]


def test_of_a_regression_the_score_is_the_negative_mean_squared_error(linear_only):
    matrix, labels, as_of_at = example("regression")
    trial = quick("regression", matrix, labels, as_of_at).trials[0]
    past = ~out_of_time_split(as_of_at)
    X, y = matrix[past], labels[past]
    fold = fitting._folds(y, np.arange(len(y)), 7)
    losses = []
    for k in range(3):
        pipeline = fit_pipeline(
            CANDIDATES["regression"][trial.algorithm],
            trial.parameters,
            X[fold != k],
            y[fold != k],
            7,
        )
        losses.append(np.mean((np.maximum(0, pipeline.predict(X[fold == k])) - y[fold == k]) ** 2))
    assert trial.mean_score == pytest.approx(-np.mean(losses))


def test_folds_have_equal_shares_of_high_labels():
    rng = np.random.default_rng(0)
    for labels in (rng.random(900) < 0.1, rng.random(900) < 0.9, rng.lognormal(size=900)):
        fold = fitting._folds(labels.astype(float), np.arange(900), seed=1)
        assert np.bincount(fold).tolist() == [300, 300, 300]
        n_high = np.bincount(fold[fitting._is_high(labels.astype(float))])
        assert np.ptp(n_high) <= 1


def test_all_rows_of_an_entity_are_in_one_fold():
    rng = np.random.default_rng(0)
    entities = rng.integers(0, 80, 900).astype(str)
    fold = fitting._folds((rng.random(900) < 0.2).astype(float), entities, seed=1)
    assert pd.Series(fold).groupby(entities).nunique().eq(1).all()
    assert np.bincount(fold).min() > 200


def test_an_entity_known_again_does_not_pass_for_a_good_model():
    """Labels that are an entity's own whim are foretold only by who has seen the entity."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(100), 10)
    matrix = pd.DataFrame({"id_like": rng.normal(size=100)[who]})
    labels = (rng.random(100) < 0.5).astype(int)[who]
    as_of_at = pd.concat([days(10)] * 100, ignore_index=True)
    fooled = quick("binary", matrix, labels, as_of_at)
    honest = quick("binary", matrix, labels, as_of_at, entities=who)
    assert max(t.mean_score for t in fooled.trials) > -0.55
    assert max(t.mean_score for t in honest.trials) < -0.65


def test_a_seed_gives_the_same_model_on_any_number_of_cores(kind, rows, model):
    assert_same_model(fit(kind, *rows, seed=7, n_jobs=2), model)


def test_another_seed_draws_other_folds(kind, rows, model, linear_only):
    other = quick(kind, *rows, seed=8)
    n = len(other.trials)
    assert [t.mean_score for t in other.trials] != [t.mean_score for t in model.trials[:n]]


def exclusive_or(kind: str) -> Example:
    rng = np.random.default_rng(3)
    matrix = pd.DataFrame(rng.normal(size=(900, 2)), columns=["a", "b"])
    labels = ((matrix["a"] > 0) ^ (matrix["b"] > 0)).astype(int).to_numpy()
    return matrix, labels * (1 if kind == "binary" else 100), days(900)


def test_the_data_decide_which_algorithm_wins(kind, rows):
    if kind == "binary":
        matrix, labels, as_of_at = rows
    else:
        matrix, _, as_of_at = rows
        noise = np.random.default_rng(1).normal(size=len(matrix))
        labels = 10 * matrix["signal"].to_numpy() + noise
    linear = quick(kind, matrix, labels, as_of_at)
    assert linear.algorithm == {"binary": "logistic_regression", "regression": "ridge"}[kind]
    crossed = quick(kind, *exclusive_or(kind))
    assert crossed.algorithm != linear.algorithm
    assert crossed.metrics.get("roc_auc", crossed.metrics.get("r2")) > 0.9


# Imbalance and calibration


def forced(monkeypatch: pytest.MonkeyPatch, algorithm: str, imbalance: str) -> None:
    """Leave one algorithm with one way to treat a rare class."""
    candidate = CANDIDATES["binary"][algorithm]
    points = [p for p in ParameterGrid(candidate.grid) if p["imbalance"] == imbalance]
    grid = [{name: [value] for name, value in points[0].items()}]
    monkeypatch.setitem(CANDIDATES, "binary", {algorithm: replace(candidate, grid=grid)})


@pytest.mark.parametrize(
    ("algorithm", "imbalance"),
    [
        ("logistic_regression", "class_weight"),
        ("logistic_regression", "smote"),
        ("random_forest", "class_weight"),
        ("neural_network", "smote"),
    ],
)
def test_probabilities_stay_probabilities_whatever_is_done_about_a_rare_class(
    monkeypatch, algorithm, imbalance
):
    forced(monkeypatch, algorithm, imbalance)
    matrix, labels, as_of_at = rare(5_000, seed=1)
    fitted = quick("binary", matrix, labels, as_of_at)
    assert fitted.parameters["imbalance"] == imbalance

    fresh_matrix, fresh_labels, _ = rare(20_000, seed=2)
    base_rate = fresh_labels.mean()
    assert 0.04 < base_rate < 0.06
    raw = fitted.estimator.pipeline.predict_proba(fresh_matrix)[:, 1]
    assert raw.mean() > 3 * base_rate
    calibrated = predict(fitted.estimator, fresh_matrix)
    noise = np.sqrt(base_rate * (1 - base_rate) * (1 / fitted.n_trained + 1 / 20_000))
    assert abs(calibrated.mean() - base_rate) < 3 * noise
    assert log_loss(fresh_labels, calibrated) < log_loss(
        fresh_labels, np.full(20_000, labels.mean())
    )
    assert log_loss(fresh_labels, calibrated) < log_loss(fresh_labels, raw)


def test_trials_with_a_treated_class_are_compared_after_calibration(linear_only):
    trials = fit("binary", *rare(5_000, seed=1), seed=7, n_jobs=1).trials
    score = {t.parameters["imbalance"]: t.mean_score for t in trials if t.parameters["C"] == 0.1}
    # By what they say themselves, the treated ones would lose by more than 0.2.
    assert score["class_weight"] == pytest.approx(score["none"], abs=0.01)
    assert score["smote"] == pytest.approx(score["none"], abs=0.01)


@pytest.fixture
def rows_given_to_smote(monkeypatch: pytest.MonkeyPatch) -> list[set[float]]:
    """The ids that each call of SMOTE sees; all else about it stays the same."""
    given: list[set[float]] = []

    class Watched(SMOTE):
        def fit_resample(self, X: pd.DataFrame, y: np.ndarray, **params: Any) -> Any:
            given.append(set(X["id"]))
            return super().fit_resample(X, y, **params)

    monkeypatch.setattr(candidates, "SMOTE", Watched)
    return given


def test_smote_sees_training_folds_only(monkeypatch, rows_given_to_smote):
    only_logistic(monkeypatch, {"imbalance": ["smote"]})
    matrix, labels, as_of_at = rare(1_000, seed=3)
    matrix["id"] = np.arange(1_000.0)
    quick("binary", matrix, labels, as_of_at)

    past = np.flatnonzero(~out_of_time_split(as_of_at))
    fold = fitting._folds(labels[past].astype(float), past, 7)
    *in_folds, at_last = rows_given_to_smote
    assert in_folds == [set(past[fold != k]) for k in range(3)]
    assert at_last == set(past)


def test_drawn_rows_do_not_make_noise_look_like_a_signal(monkeypatch):
    forced(monkeypatch, "neural_network", "smote")
    rng = np.random.default_rng(0)
    matrix = pd.DataFrame(rng.normal(size=(1_200, 4)), columns=list("abcd"))
    labels = (rng.random(1_200) < 0.1).astype(int)
    trial = quick("binary", matrix, labels, days(1_200, 20)).trials[0]
    p = labels.mean()
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert trial.mean_score < -entropy + 0.02


def test_what_is_fitted_holds_no_sampler(monkeypatch):
    forced(monkeypatch, "logistic_regression", "smote")
    pipeline = quick("binary", *rare(1_000, seed=3)).estimator.pipeline
    assert type(pipeline) is Pipeline
    assert [name for name, _ in pipeline.steps] == ["columns", "model"]


def test_scores_are_calibrated_probabilities():
    matrix, labels, as_of_at = example("binary", n=900)
    fitted = quick("binary", matrix, labels, as_of_at)
    fresh_matrix, fresh_labels, _ = example("binary", n=20_000, seed=2)
    fresh = predict(fitted.estimator, fresh_matrix)
    assert 0 < fresh.min() < fresh.max() < 1
    # Calibrated beats the best constant, and no stretching of the log odds would do much better.
    losses = {k: log_loss(fresh_labels, expit(k * logit(fresh))) for k in (0.5, 1, 2)}
    assert min(losses, key=losses.get) == 1
    assert losses[1] < log_loss(fresh_labels, np.full(len(fresh), labels.mean()))


def test_the_sigmoid_is_platts():
    """Held against scikit-learn's, which is fitted on the same log odds by other means."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(scale=2, size=2_000)
    labels = (rng.random(2_000) < expit(0.6 * log_odds - 1)).astype(int)
    identity = LogisticRegression()
    identity.classes_, identity.coef_ = np.array([0, 1]), np.array([[1.0]])
    identity.intercept_, identity.n_features_in_ = np.array([0.0]), 1
    oracle = CalibratedClassifierCV(FrozenEstimator(identity), method="sigmoid")
    oracle.fit(log_odds[:, None], labels)
    response = SigmoidResponse.learn(log_odds, labels)
    np.testing.assert_allclose(
        response(log_odds), oracle.predict_proba(log_odds[:, None])[:, 1], atol=1e-4
    )
    assert response.slope == pytest.approx(0.6, abs=0.1)
    assert response.intercept == pytest.approx(-1, abs=0.2)


def test_a_sigmoid_leaves_what_is_calibrated_and_takes_back_a_shift():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=50_000) - 2
    labels = (rng.random(50_000) < expit(log_odds)).astype(int)
    response = SigmoidResponse.learn(log_odds, labels)
    assert (response.slope, response.intercept) == pytest.approx((1, 0), abs=0.06)
    shifted = SigmoidResponse.learn(log_odds + 3, labels)
    assert (shifted.slope, shifted.intercept) == pytest.approx((1, -3), abs=0.2)


@pytest.mark.parametrize("sign", [1, -1], ids=["without a mistake", "always wrong"])
def test_a_sigmoid_never_says_0_or_1_and_moves_no_row_past_another(sign):
    log_odds = np.linspace(-9, 9, 20)
    response = SigmoidResponse.learn(log_odds, (sign * log_odds > 0).astype(int))
    probabilities = response(log_odds)
    assert probabilities.min() > 0
    assert probabilities.max() < 1
    assert (np.diff(probabilities) >= 0).all()
    if sign < 0:
        np.testing.assert_allclose(probabilities, 0.5, atol=0.05)


def test_what_a_classifier_is_sure_of_is_read_as_large_but_finite_log_odds():
    class Sure:
        def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
            return np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])

    low, even, high = SigmoidResponse.read(Sure(), pd.DataFrame())
    assert even == 0
    assert high == -low == pytest.approx(logit(1 - 1e-5))


def test_differences_of_next_to_nothing_are_not_blown_up():
    log_odds = np.array([-2.0, -2.0 + 1e-6] * 50)
    response = SigmoidResponse.learn(log_odds, np.array([0, 1] * 50))
    np.testing.assert_allclose(response(log_odds), 0.5, atol=1e-3)


# The judgement


def test_the_winner_is_judged_on_the_out_of_time_rows(kind, rows, model):
    matrix, labels, as_of_at = rows
    recent = out_of_time_split(as_of_at)
    predictions = model.out_of_time_predictions
    np.testing.assert_array_equal(model.out_of_time_index, np.flatnonzero(recent))
    np.testing.assert_array_equal(predictions, predict(model.estimator, matrix[recent]))
    actual = labels[recent]
    expected = {
        "binary": lambda: {
            "log_loss": log_loss(actual, predictions),
            "brier_score": brier_score_loss(actual, predictions),
            "roc_auc": roc_auc_score(actual, predictions),
        },
        "regression": lambda: {
            "rmse": root_mean_squared_error(actual, predictions),
            "mae": mean_absolute_error(actual, predictions),
            "r2": r2_score(actual, predictions),
            "bias": predictions.mean() - actual.mean(),
        },
    }[kind]()
    assert model.metrics == pytest.approx(expected)
    assert (model.n_trained, model.n_judged) == (480, 120)
    assert (model.trained_from, model.judged_through) == (as_of_at.min(), as_of_at.max())
    assert model.judged_from - model.trained_through == pd.Timedelta(days=1)


def test_what_comes_out_of_time_changes_nothing_but_the_judgement(kind, rows, linear_only):
    matrix, labels, as_of_at = rows
    recent = out_of_time_split(as_of_at)
    other_matrix = matrix.copy()
    other_matrix.loc[recent, "signal"] += 100
    other_matrix.loc[recent, "source"] = "other"
    other_labels = np.where(recent, 1 - labels if kind == "binary" else labels + 1e6, labels)
    one = quick(kind, matrix, labels, as_of_at)
    other = quick(kind, other_matrix, other_labels, as_of_at)
    assert other.metrics != one.metrics
    assert [t.mean_score for t in other.trials] == [t.mean_score for t in one.trials]
    np.testing.assert_array_equal(predict(other.estimator, matrix), predict(one.estimator, matrix))


def test_r2_is_none_where_the_recent_labels_are_all_alike(linear_only):
    matrix, labels, as_of_at = example("regression")
    labels = np.where(out_of_time_split(as_of_at), 0.0, labels)
    metrics = quick("regression", matrix, labels, as_of_at).metrics
    assert metrics["r2"] is None
    assert metrics["bias"] > 0


def test_amounts_are_never_foretold_to_be_negative(linear_only):
    matrix, labels, as_of_at = example("regression")
    fitted = quick("regression", matrix, labels, as_of_at)
    assert fitted.estimator.pipeline.predict(matrix).min() < -10
    assert predict(fitted.estimator, matrix).min() == 0
    assert fitted.out_of_time_predictions.min() == 0


def test_labels_that_can_be_negative_are_foretold_so_and_not_by_poisson():
    matrix, labels, as_of_at = example("regression")
    fitted = quick("regression", matrix, labels - 30, as_of_at)
    assert fitted.estimator.response == FlooredResponse(None)
    assert fitted.out_of_time_predictions.min() < 0
    assert "poisson_boosting" not in {trial.algorithm for trial in fitted.trials}


def test_labels_may_be_decimals(linear_only):
    matrix, labels, as_of_at = example("regression")
    decimals = np.array([Decimal(str(label)) for label in labels], dtype=object)
    assert_same_model(
        quick("regression", matrix, decimals, as_of_at),
        quick("regression", matrix, labels, as_of_at),
    )


# What a matrix may look like


@each_algorithm
def test_unseen_categories_and_missing_or_wild_values_get_a_finite_prediction(kind, algorithm):
    matrix, labels, _ = example(kind)
    estimator = predictor(kind, algorithm, matrix, labels)
    strange = matrix.head(4).assign(source=pd.Series(["unseen", np.nan, "web", "ad"], dtype=object))
    strange.loc[2, ["signal", "noise"]] = np.nan
    strange.loc[3, ["signal", "noise"]] = 3e38
    predictions = predict(estimator, strange)
    assert np.isfinite(predictions).all()
    assert predictions.max() <= predict(estimator, matrix).max() * 2


def test_to_gradient_boosting_an_unseen_category_is_a_missing_one(kind, rows):
    matrix, labels, _ = rows
    estimator = predictor(kind, "gradient_boosting", matrix, labels)
    np.testing.assert_array_equal(
        predict(estimator, matrix.assign(source="unseen")),
        predict(estimator, matrix.assign(source=pd.Series(np.nan, matrix.index, dtype=object))),
    )


@pytest.mark.filterwarnings("error")
@each_algorithm
@pytest.mark.parametrize("column", ["signal", "source"])
def test_a_column_may_be_filled_in_a_few_rows_or_the_last_ones_or_none(kind, algorithm, column):
    matrix, labels, _ = example(kind, n=200)
    for filled in ([], [5], range(150, 200)):
        sparse = matrix.assign(**{column: matrix[column].where(matrix.index.isin(filled))})
        estimator = predictor(kind, algorithm, sparse[[column]], labels)
        assert np.isfinite(predict(estimator, matrix[[column]])).all()


@pytest.mark.filterwarnings("error")
@each_algorithm
def test_hundreds_of_categories_are_no_obstacle(kind, algorithm):
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 400, 2_000)
    matrix = pd.DataFrame({"town": pd.Series([f"town {code}" for code in codes], dtype=object)})
    labels = (rng.random(2_000) < np.where(codes < 200, 0.9, 0.1)).astype(int)
    estimator = predictor(kind, algorithm, matrix, labels)
    assert np.isfinite(predict(estimator, matrix)).all()


@each_algorithm
def test_one_wild_value_does_not_spoil_the_other_predictions(kind, algorithm):
    matrix, labels, _ = example(kind)
    wild = matrix.copy()
    wild.loc[3, "noise"] = 3e38
    others = matrix.drop(index=3)
    spoilt, sound = (
        fitting.loss(kind, np.delete(labels, 3), predict(estimator, others))
        for estimator in (
            predictor(kind, algorithm, wild, labels),
            predictor(kind, algorithm, matrix, labels),
        )
    )
    assert spoilt < sound + (0.03 if kind == "binary" else 5)


@pytest.mark.filterwarnings("error")
def test_warnings_do_not_reach_the_terminal_from_this_process(kind, rows):
    quick(kind, *rows)


def test_warnings_do_not_reach_the_terminal_from_other_processes():
    script = """
import numpy as np, pandas as pd
from python_scoring import candidates, fitting

only = candidates.CANDIDATES["binary"]["neural_network"]
candidates.CANDIDATES["binary"] = {"unfinished": only}
rng = np.random.default_rng(1)
matrix = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
as_of_at = pd.Series(pd.date_range("2024-01-01", periods=300, tz="UTC"))
only.grid[:] = [{"alpha": [1e-3], "max_iter": [1]}]
fitting.fit("binary", matrix, matrix["a"] > 0, as_of_at, seed=7, n_jobs=2)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_DIR, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# What is refused


def test_an_unknown_kind_is_refused():
    with pytest.raises(LeadlightError, match="kind ranking"):
        quick("ranking", *example("binary", 20))


@each_kind
def test_no_rows_no_features_and_rows_of_one_day_are_refused(kind):
    matrix, labels, as_of_at = example(kind, 20)
    with pytest.raises(NotEnoughData, match="no rows to train on"):
        quick(kind, matrix.head(0), labels[:0], as_of_at.head(0))
    with pytest.raises(NotEnoughData, match="no features to train on"):
        quick(kind, matrix[[]], labels, as_of_at)
    one_day = pd.Series([as_of_at.iloc[0] + pd.Timedelta(hours=h) for h in range(20)])
    with pytest.raises(NotEnoughData, match="all 20 rows to train on are of one day"):
        quick(kind, matrix, labels, one_day)


@pytest.mark.parametrize("label", [np.nan, np.inf, -1e300])
def test_labels_that_are_no_numbers_are_refused(label):
    matrix, labels, as_of_at = example("regression", 20)
    labels = np.where(np.arange(20) == 3, label, labels)
    with pytest.raises(LeadlightError, match="1 of 20 labels are missing or beyond all bounds"):
        quick("regression", matrix, labels, as_of_at)


@pytest.mark.parametrize(
    ("n_positive_past", "n_positive_recent", "message"),
    [
        (0, 10, "to train on .* 0 positive and 80 negative labels, at least 3"),
        (2, 10, "to train on .* 2 positive and 78 negative labels, at least 3"),
        (78, 10, "to train on .* 78 positive and 2 negative labels, at least 3"),
        (80, 10, "to train on .* 80 positive and 0 negative labels, at least 3"),
        (40, 0, "to judge the model by .* 0 positive and 20 negative labels, at least 1"),
        (40, 20, "to judge the model by .* 20 positive and 0 negative labels, at least 1"),
    ],
)
def test_too_few_outcomes_of_a_class_are_refused(n_positive_past, n_positive_recent, message):
    labels = np.zeros(100, dtype=int)
    labels[:n_positive_past] = 1
    labels[80 : 80 + n_positive_recent] = 1
    matrix = pd.DataFrame({"n": np.arange(100.0)})
    with pytest.raises(NotEnoughData, match=message) as refused:
        quick("binary", matrix, labels, days(100))
    assert "\n" not in refused.value.message


def test_amounts_that_are_nearly_all_alike_are_refused():
    labels = np.zeros(100)
    labels[:2] = 50
    matrix = pd.DataFrame({"n": np.arange(100.0)})
    with pytest.raises(NotEnoughData, match="2 high and 78 low labels, at least 3 of each"):
        quick("regression", matrix, labels, days(100))
    with pytest.raises(NotEnoughData, match="80 high and 0 low"):
        quick("regression", matrix, np.full(100, 0.1), days(100))


def test_outcomes_of_too_few_entities_are_refused():
    labels = np.zeros(100, dtype=int)
    labels[10:20] = 1
    labels[90:95] = 1
    matrix = pd.DataFrame({"n": np.arange(100.0)})
    with pytest.raises(NotEnoughData, match="at least 3 of each needed, of as many entities"):
        quick("binary", matrix, labels, days(100), entities=np.arange(100) // 10)


def test_as_many_rows_of_a_class_as_folds_are_enough():
    matrix = pd.DataFrame({"n": np.arange(100.0)})
    labels = np.zeros(100, dtype=int)
    labels[[0, 30, 60, 90]] = 1
    for kind, budget_seconds in {"binary": 60, "regression": 0}.items():
        fitted = quick(kind, matrix, labels, days(100), budget_seconds=budget_seconds)
        assert np.isfinite([trial.mean_score for trial in fitted.trials]).all()
        assert np.isfinite(fitted.out_of_time_predictions).all()


# Real data


def fit_shoppers() -> FittedModel:
    sessions = pd.read_csv(real_data("online_shoppers_intention.csv.gz"), sep=";")
    month = pd.to_datetime("2018 " + sessions["Month"].str[:3], format="%Y %b", utc=True)
    frame = sessions.drop(columns=["Month", "Revenue"])
    matrix = FeatureSpec.learn(frame).matrix(frame)
    return fit("binary", matrix, sessions["Revenue"].to_numpy(), month, seed=7)


def test_online_shoppers_of_february_to_october_foretell_november_and_december():
    fitted = fit_shoppers()
    assert (fitted.n_trained, fitted.n_judged) == (7_605, 4_725)
    assert fitted.judged_from == pd.Timestamp("2018-11-01", tz="UTC")
    assert fitted.metrics["roc_auc"] > 0.82
