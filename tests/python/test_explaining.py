"""Explaining: importances, partial dependence and curves, held against scikit-learn's."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence as sklearn_dependence
from sklearn.inspection import permutation_importance as sklearn_importance
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve
from sklearn.model_selection import ParameterGrid

from python_scoring.candidates import CANDIDATES, fit_pipeline
from python_scoring.explaining import Explanation, curve, explain, partial_dependence
from python_scoring.fitting import RESPONSES, Predictor, loss, one_thread_a_fit, predict

Example = tuple[Predictor, pd.DataFrame, np.ndarray]


def example(kind: str, n: int = 2_500) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows with a strong, a weak and twelve idle features, a category and missing values."""
    rng = np.random.default_rng(1)
    matrix = pd.DataFrame(
        {
            "weak": rng.normal(size=n),
            "strong": rng.normal(size=n),
            "flag": (rng.random(n) < 0.02).astype(float),
        }
    )
    for i in range(12):
        matrix[f"idle_{i}"] = rng.normal(size=n)
    town = pd.Series([f"town {i:02}" for i in rng.geometric(0.1, n)], dtype=object)
    matrix["town"] = town.where(rng.random(n) > 0.1)
    strength = 2 * matrix["strong"] + 0.5 * matrix["weak"] + (town == "town 01")
    matrix.loc[rng.random(n) < 0.1, "strong"] = np.nan
    if kind == "binary":
        return matrix, (rng.random(n) < expit(strength - 1)).astype(int).to_numpy()
    return matrix, (10 * strength).to_numpy()


@pytest.fixture(scope="module", params=list(CANDIDATES))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def fitted(kind: str) -> Example:
    matrix, labels = example(kind)
    candidate = next(iter(CANDIDATES[kind].values()))
    with one_thread_a_fit(1):
        pipeline = fit_pipeline(candidate, ParameterGrid(candidate.grid)[0], matrix, labels, 7)
    response = RESPONSES[kind].learn(RESPONSES[kind].read(pipeline, matrix), labels)
    return Predictor(pipeline, response), matrix, labels


@pytest.fixture(scope="module")
def explanation(kind: str, fitted: Example) -> Explanation:
    return explain(kind, *fitted, seed=7)


class SklearnLike(RegressorMixin, BaseEstimator):
    """A predictor as scikit-learn's inspection asks for it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.is_fitted_ = True

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> SklearnLike:
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return predict(self.predictor, X)


def test_the_strongest_feature_is_first_and_idle_ones_are_near_zero(explanation, fitted, kind):
    _, matrix, _ = fitted
    features = [importance.feature for importance in explanation.importances]
    assert sorted(features) == sorted(matrix.columns)
    assert features[0] == "strong"
    means = {importance.feature: importance.mean for importance in explanation.importances}
    assert list(means.values()) == sorted(means.values(), reverse=True)
    assert all(abs(means[f"idle_{i}"]) < 0.05 * means["strong"] for i in range(12))
    assert all(importance.std >= 0 for importance in explanation.importances)


def test_importances_are_scikit_learns_but_for_chance(explanation, fitted, kind):
    estimator, matrix, labels = fitted
    oracle = sklearn_importance(
        SklearnLike(estimator),
        matrix,
        labels,
        scoring=lambda model, X, y: -loss(kind, y, model.predict(X)),
        n_repeats=3,
        random_state=1,
    )
    expected = dict(zip(matrix.columns, oracle.importances_mean, strict=True))
    for importance in explanation.importances[:3]:
        assert importance.mean == pytest.approx(expected[importance.feature], rel=0.25)


def test_the_samples_are_no_larger_than_said(explanation, fitted, kind):
    assert (explanation.n_importance_rows, explanation.n_dependence_rows) == (2_000, 500)
    estimator, matrix, labels = fitted
    few = explain(kind, estimator, matrix.head(90), labels[:90], seed=7)
    assert (few.n_importance_rows, few.n_dependence_rows) == (90, 90)


def test_the_ten_strongest_features_have_points_and_no_others(explanation):
    strongest = [importance.feature for importance in explanation.importances[:10]]
    assert list(dict.fromkeys(point.feature for point in explanation.dependence)) == strongest
    for feature in strongest:
        points = [point for point in explanation.dependence if point.feature == feature]
        assert 1 <= len(points) <= 20
        assert [point.position for point in points] == list(range(1, len(points) + 1))
        assert all((point.number is None) != (point.text is None) for point in points)


def test_dependence_is_scikit_learns(kind, fitted):
    estimator, matrix, labels = fitted
    rows = matrix.head(400)
    points = explain(kind, estimator, rows, labels[:400], seed=7).dependence
    strong = [point for point in points if point.feature == "strong"]
    assert len(strong) == 20
    values = [point.number for point in strong]
    assert values == sorted(values)
    oracle = sklearn_dependence(
        SklearnLike(estimator),
        rows,
        ["strong"],
        custom_values={"strong": np.array(values)},
        method="brute",
    )
    found = [point.mean_prediction for point in strong]
    np.testing.assert_allclose(found, oracle["average"][0])
    assert found[-1] > found[0]


def test_texts_stand_by_their_frequency_and_missing_is_none_of_them(explanation, fitted):
    _, matrix, _ = fitted
    points = [point for point in explanation.dependence if point.feature == "town"]
    assert len(points) == 20
    assert points[0].text == matrix["town"].value_counts().index[0]
    assert all(isinstance(point.text, str) for point in points)


def test_few_values_are_all_points_however_rare(fitted):
    estimator, matrix, _ = fitted
    points = partial_dependence(estimator, matrix.head(300), "flag")
    assert [point.number for point in points] == [0.0, 1.0]


def test_a_feature_that_is_missing_in_all_rows_has_no_points(fitted):
    estimator, matrix, _ = fitted
    for feature in ("strong", "town"):
        column = pd.Series(np.nan, matrix.index, dtype=matrix[feature].dtype)
        assert partial_dependence(estimator, matrix.assign(**{feature: column}), feature) == ()


def test_a_seed_gives_the_same_explanation_and_no_row_is_changed(explanation, fitted, kind):
    estimator, matrix, labels = fitted
    before = matrix.copy(deep=True)
    assert explain(kind, estimator, matrix, labels, seed=7) == explanation
    pd.testing.assert_frame_equal(matrix, before)
    assert explain(kind, estimator, matrix, labels, seed=8).importances != explanation.importances


def test_an_explanation_is_plain_json(explanation):
    json.dumps(asdict(explanation), allow_nan=False)


def test_only_a_binary_model_has_a_curve(explanation, kind):
    assert bool(explanation.curve) == (kind == "binary")


def scored(n: int, n_decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    scores = rng.uniform(0.01, 0.98, n).round(n_decimals)
    return (rng.random(n) < scores**2).astype(int), scores


@pytest.mark.parametrize(("n", "n_decimals"), [(150, 9), (3_000, 2), (3_000, 9)])
def test_each_point_of_a_curve_is_scikit_learns(n, n_decimals):
    labels, scores = scored(n, n_decimals)
    points = curve(labels, scores)
    assert len(points) == min(200, len(np.unique(scores)) + 1)
    thresholds = [point.threshold for point in points]
    assert thresholds == sorted(thresholds, reverse=True)

    false_rates, true_rates, at = roc_curve(labels, scores, drop_intermediate=False)
    roc = {t: (tpr, fpr) for t, tpr, fpr in zip(at, true_rates, false_rates, strict=True)}
    precisions, recalls, at = precision_recall_curve(labels, scores)
    precision_recall = {
        t: (p, r) for t, p, r in zip(at, precisions[:-1], recalls[:-1], strict=True)
    }
    first, *others = points
    assert asdict(first) == {
        "threshold": 1.0,
        "true_positive_rate": 0.0,
        "false_positive_rate": 0.0,
        "precision": None,
    }
    for point in others:
        rates = (point.true_positive_rate, point.false_positive_rate)
        assert rates == pytest.approx(roc[point.threshold])
        assert (point.precision, point.true_positive_rate) == pytest.approx(
            precision_recall[point.threshold]
        )
    assert (others[-1].true_positive_rate, others[-1].false_positive_rate) == (1, 1)


def test_the_area_under_a_curve_of_200_points_is_that_of_all():
    labels, scores = scored(5_000, 9)
    points = curve(labels, scores)
    area = np.trapezoid(
        [point.true_positive_rate for point in points],
        [point.false_positive_rate for point in points],
    )
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
