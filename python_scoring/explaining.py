"""Explains a fitted model on rows it has not seen: what it relies on, how, and how well it ranks.

Everything is computed by predicting, so it holds for any algorithm alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from python_scoring.fitting import Estimator, loss, predict

MAX_IMPORTANCE_ROWS = 2_000
N_REPEATS = 3
N_STRONGEST = 10
MAX_DEPENDENCE_ROWS = 500
MAX_DEPENDENCE_POINTS = 20
MAX_CURVE_POINTS = 200


@dataclass(frozen=True)
class Importance:
    """How much a model relies on a feature: permutation importance (Breiman, 2001).

    `mean` and `std` are over the repeats, of the loss that is added when the feature's values
    change places among the rows: in nats for a binary task, in the labels' unit squared for a
    regression. Near or below zero where the model does not need the feature.
    """

    feature: str
    mean: float
    std: float


@dataclass(frozen=True)
class DependencePoint:
    """What is predicted on average when a feature has one value in all rows (Friedman, 2001).

    `position` counts the points of a feature from 1, by value or from the most frequent text.
    Exactly one of `number` and `text` is set. `mean_prediction` is a probability, or in the labels'
    unit.
    """

    feature: str
    position: int
    number: float | None
    text: str | None
    mean_prediction: float


@dataclass(frozen=True)
class CurvePoint:
    """One point of the ROC curve and of the precision-recall curve.

    Positive is predicted where `score >= threshold`; `precision` is None where that is nowhere.
    Recall is the true positive rate.
    """

    threshold: float
    true_positive_rate: float
    false_positive_rate: float
    precision: float | None


@dataclass(frozen=True)
class Explanation:
    """What is known of a model from the rows it was judged on.

    Attributes:
        importances: One for each feature, the strongest first.
        n_importance_rows: Rows that the importances were computed on.
        dependence: Points of the strongest features, in their order.
        n_dependence_rows: Rows that each of these points is a mean over.
        curve: By falling threshold, from (0, 0) to (1, 1); empty for a regression.
    """

    importances: tuple[Importance, ...]
    n_importance_rows: int
    dependence: tuple[DependencePoint, ...]
    n_dependence_rows: int
    curve: tuple[CurvePoint, ...]


def explain(
    kind: str, estimator: Estimator, X: pd.DataFrame, y: np.ndarray, *, seed: int
) -> Explanation:
    """Explain a model by rows it has not seen; the same input and seed give the same explanation.

    Args:
        kind: `binary` or `regression`.
        estimator: The fitted model.
        X: The out-of-time rows of the matrix, shape (rows, features), at least one row.
        y: Their labels, shape (rows,); of a binary task both classes.
        seed: Seeds the samples and the permutations.
    """
    y = np.asarray(y, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(len(X))
    judged = order[:MAX_IMPORTANCE_ROWS]
    importances = permutation_importances(kind, estimator, X.iloc[judged], y[judged], seed)
    sample = X.iloc[order[:MAX_DEPENDENCE_ROWS]]
    dependence = tuple(
        point
        for importance in importances[:N_STRONGEST]
        for point in partial_dependence(estimator, sample, importance.feature)
    )
    return Explanation(
        importances=importances,
        n_importance_rows=len(judged),
        dependence=dependence,
        n_dependence_rows=len(sample),
        curve=curve(y, predict(estimator, X)) if kind == "binary" else (),
    )


def permutation_importances(
    kind: str, estimator: Estimator, X: pd.DataFrame, y: np.ndarray, seed: int
) -> tuple[Importance, ...]:
    """Return the importance of each feature, the strongest first, from `N_REPEATS` permutations.

    Args:
        kind: `binary` or `regression`.
        estimator: The fitted model.
        X: Rows of the matrix, shape (rows, features).
        y: Their labels, shape (rows,).
        seed: Seeds the permutations, which are the same for each feature.
    """
    rng = np.random.default_rng(seed)
    shuffled = np.concatenate([rng.permutation(len(X)) for _ in range(N_REPEATS)])
    # All repeats in one frame: a prediction of many rows takes hardly longer than one of a few.
    repeated = X.iloc[np.tile(np.arange(len(X)), N_REPEATS)].reset_index(drop=True)
    known_loss = loss(kind, y, predict(estimator, X))
    importances = []
    for feature in X.columns:
        column = X[feature].iloc[shuffled].reset_index(drop=True)
        predictions = predict(estimator, _with_column(repeated, feature, column))
        losses = [loss(kind, y, part) for part in np.split(predictions, N_REPEATS)]
        importances.append(
            Importance(feature, float(np.mean(losses) - known_loss), float(np.std(losses)))
        )
    return tuple(sorted(importances, key=lambda importance: -importance.mean))


def partial_dependence(
    estimator: Estimator, X: pd.DataFrame, feature: str
) -> tuple[DependencePoint, ...]:
    """Return the mean prediction at up to `MAX_DEPENDENCE_POINTS` values of a feature.

    Of a numeric feature these are its values if they are few, otherwise quantiles at even
    distances; of a categorical one the most frequent. Missing is no value.

    Args:
        estimator: The fitted model.
        X: The rows whose predictions are averaged, shape (rows, features).
        feature: Name of a column of `X`.
    """
    is_number = is_numeric_dtype(X[feature])
    values = _typical_numbers(X[feature]) if is_number else _frequent_texts(X[feature])
    if len(values) == 0:
        return ()
    repeated = X.iloc[np.tile(np.arange(len(X)), len(values))].reset_index(drop=True)
    column = pd.Series(np.repeat(values, len(X)), dtype=X[feature].dtype)
    predictions = predict(estimator, _with_column(repeated, feature, column))
    means = predictions.reshape(len(values), len(X)).mean(axis=1)
    return tuple(
        DependencePoint(
            feature=feature,
            position=position,
            number=float(value) if is_number else None,
            text=None if is_number else value,
            mean_prediction=float(mean),
        )
        for position, (value, mean) in enumerate(zip(values, means, strict=True), start=1)
    )


def curve(y: np.ndarray, scores: np.ndarray) -> tuple[CurvePoint, ...]:
    """Return the ROC and the precision-recall curve at up to `MAX_CURVE_POINTS` thresholds.

    These are 1, which no score reaches, and the distinct scores; of too many scores those at even
    distances by rank, the highest and the lowest among them.

    Args:
        y: Labels 0 or 1, both of them, shape (rows,).
        scores: In (0, 1), shape (rows,).
    """
    distinct = np.unique(scores)[::-1]
    if len(distinct) >= MAX_CURVE_POINTS:
        ranks = np.linspace(0, len(distinct) - 1, MAX_CURVE_POINTS - 1)
        distinct = distinct[np.round(ranks).astype(int)]
    thresholds = np.concatenate([[1.0], distinct])
    positives, negatives = np.sort(scores[y == 1]), np.sort(scores[y == 0])
    n_true = len(positives) - np.searchsorted(positives, thresholds)
    n_false = len(negatives) - np.searchsorted(negatives, thresholds)
    return tuple(
        CurvePoint(
            threshold=float(threshold),
            true_positive_rate=float(true / len(positives)),
            false_positive_rate=float(false / len(negatives)),
            precision=float(true / (true + false)) if true + false else None,
        )
        for threshold, true, false in zip(thresholds, n_true, n_false, strict=True)
    )


def _typical_numbers(column: pd.Series) -> np.ndarray:
    """Return a number's distinct values if they are few, otherwise its quantiles, rising."""
    known = column.dropna().to_numpy()
    distinct = np.unique(known)
    if len(distinct) <= MAX_DEPENDENCE_POINTS:
        return distinct
    # The middles of as many slices of equal size: the outermost values are nobody's.
    shares = (np.arange(MAX_DEPENDENCE_POINTS) + 0.5) / MAX_DEPENDENCE_POINTS
    return np.unique(np.quantile(known, shares, method="nearest"))


def _frequent_texts(column: pd.Series) -> list[str]:
    """Return the most frequent texts, the most frequent first, ties in alphabetical order."""
    counts = column.value_counts().to_dict()
    return sorted(counts, key=lambda text: (-counts[text], text))[:MAX_DEPENDENCE_POINTS]


def _with_column(X: pd.DataFrame, feature: str, values: pd.Series) -> pd.DataFrame:
    """Return a matrix with other values of one feature."""
    changed = X.copy(deep=False)
    changed[feature] = values
    return changed
