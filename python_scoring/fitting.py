"""Fits a task's model: candidates, grid search on the past, calibration, a judgement in time.

The rows are split once, in time. Everything that is chosen (algorithm, parameters, calibration)
is chosen on the older rows by cross-validation; the most recent rows only judge the outcome.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import parallel_config
from pandas.api.types import is_numeric_dtype
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from python_scoring.errors import LeadlightError, NotEnoughData

N_FOLDS = 3
OUT_OF_TIME_SHARE = 0.2


@dataclass(frozen=True)
class Candidate:
    """An algorithm to try.

    Attributes:
        build: Makes the unfitted pipeline, its last step called `model`, from the names of the
            categorical columns and a seed.
        grid: The values to try for each parameter of the step `model`.
    """

    build: Callable[[list[str], int], Pipeline]
    grid: dict[str, list[Any]]


@dataclass(frozen=True)
class Trial:
    """One point of a grid: what was tried and how well it did.

    `mean_score` and `std_score` are over the folds, of the negative log loss: greater is better.
    `fit_seconds` is the fitting time summed over the folds.
    """

    algorithm: str
    parameters: dict[str, Any]
    mean_score: float
    std_score: float
    fit_seconds: float


@dataclass(frozen=True)
class FittedModel:
    """The winner, calibrated, with everything that is known about it.

    Attributes:
        algorithm: Name of the candidate that won.
        parameters: Its point of the grid.
        estimator: The calibrated classifier, fitted on the past alone; `scores` applies it.
        trials: Every point of every grid, in the order of trying.
        metrics: `log_loss`, `brier_score` and `roc_auc` on the out-of-time rows.
        trained_from: First `as_of_at` of the past.
        trained_through: Last `as_of_at` of the past.
        judged_from: First `as_of_at` out of time, later than `trained_through`.
        judged_through: Last `as_of_at` out of time.
        n_trained: Rows of the past.
        n_judged: Rows out of time.
        out_of_time_index: Positions of the out-of-time rows in the input, shape (n_judged,).
        out_of_time_scores: Their scores in [0, 1], shape (n_judged,).
    """

    algorithm: str
    parameters: dict[str, Any]
    estimator: CalibratedClassifierCV
    trials: tuple[Trial, ...]
    metrics: dict[str, float]
    trained_from: pd.Timestamp
    trained_through: pd.Timestamp
    judged_from: pd.Timestamp
    judged_through: pd.Timestamp
    n_trained: int
    n_judged: int
    out_of_time_index: np.ndarray
    out_of_time_scores: np.ndarray


def _logistic_regression(categorical: list[str], seed: int) -> Pipeline:
    # Rare categories share one column, and what is unseen joins them.
    texts = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10)
    numbers = Pipeline(
        [
            ("impute", SimpleImputer(add_indicator=True, keep_empty_features=True)),
            # A number beyond the range learned from counts as its end: one wild value would
            # otherwise get a wild score, and flatten the calibration of all the others.
            ("clip", MinMaxScaler(clip=True)),
            ("scale", StandardScaler()),
        ]
    )
    columns = ColumnTransformer([("categorical", texts, categorical)], remainder=numbers)
    return Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=1000))])


def filled_numeric_columns(X: pd.DataFrame) -> list[str]:
    """Name the numeric columns of a matrix that hold a number at all."""
    return [name for name in X.columns if is_numeric_dtype(X[name]) and X[name].notna().any()]


def _gradient_boosting(categorical: list[str], seed: int) -> Pipeline:
    texts = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        # The model takes 255 categories a column; beyond that the rarest share one.
        max_categories=255,
    )
    columns = ColumnTransformer(
        [
            ("categorical", texts, categorical),
            ("numeric", "passthrough", filled_numeric_columns),
        ],
        # What is left is empty in the rows fitted on: one fold's, or all until recently. The model
        # takes missing values but no empty column, so it gets a constant, which it ignores.
        remainder=SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True),
    )
    model = HistGradientBoostingClassifier(
        # The column transformer puts them first.
        categorical_features=list(range(len(categorical))),
        # The grid says how long to learn; the default would depend on the number of rows.
        early_stopping=False,
        random_state=seed,
    )
    return Pipeline([("columns", columns), ("model", model)])


# What is tried for each kind of task. Of equal scores the first wins: simple ones come first.
CANDIDATES: dict[str, dict[str, Candidate]] = {
    "binary": {
        "logistic_regression": Candidate(_logistic_regression, {"C": [0.01, 0.1, 1.0]}),
        "gradient_boosting": Candidate(
            _gradient_boosting, {"learning_rate": [0.05, 0.1], "max_leaf_nodes": [8, 31]}
        ),
    },
}


def out_of_time_split(as_of_at: pd.Series, share: float = OUT_OF_TIME_SHARE) -> np.ndarray:
    """Split rows in time: the most recent `share` of the days judges the model.

    Counted are days (in UTC) that have rows, so that neither a gap nor a stray date moves the
    boundary. No day is on both sides, and each side has at least one.

    Args:
        as_of_at: Time of each row, in any order, shape (rows,), at least one row.
        share: Share of the days that is out of time, in (0, 1).

    Returns:
        Boolean array, shape (rows,): True where a row is out of time.

    Raises:
        LeadlightError: All rows are of one day.
    """
    days = as_of_at.dt.floor("D")
    distinct = np.sort(days.unique())
    if len(distinct) == 1:
        raise NotEnoughData(
            f"all {len(days)} rows to train on are of one day, {distinct[0]:%Y-%m-%d}: a model is "
            "judged on rows later than those it learned from, so features of a second day are "
            "needed"
        )
    n_recent = max(1, round(share * len(distinct)))
    return (days >= distinct[-n_recent]).to_numpy()


def fit(
    kind: str, X: pd.DataFrame, y: np.ndarray, as_of_at: pd.Series, *, seed: int, n_jobs: int = -1
) -> FittedModel:
    """Choose, calibrate and judge a model; the same input and seed give the same model.

    Args:
        kind: Kind of the task, a key of `CANDIDATES`.
        X: A matrix as `FeatureSpec.matrix` makes it, shape (rows, features).
        y: Labels 0 or 1, shape (rows,).
        as_of_at: Time of each row, shape (rows,).
        seed: Seeds the folds and the algorithms.
        n_jobs: Fits at once, -1 for one per core.

    Raises:
        LeadlightError: No candidates for the kind; no rows, features or second time; one class
            only, or fewer rows of a class than there are folds.
    """
    if kind not in CANDIDATES:
        raise LeadlightError(
            f"no algorithm for tasks of kind {kind}: known kinds are {', '.join(CANDIDATES)}"
        )
    if len(X) == 0:
        raise NotEnoughData(
            "no rows to train on: there is no feature row whose label is known yet; build the "
            "feature and label models, or wait until the horizon of the first rows has passed"
        )
    if X.shape[1] == 0:
        raise NotEnoughData(
            "no features to train on: every column of the feature model is empty, constant or "
            "has too many distinct values"
        )
    y = np.asarray(y).astype(int)
    out_of_time = out_of_time_split(as_of_at)
    past, recent = X[~out_of_time], X[out_of_time]
    past_y, recent_y = y[~out_of_time], y[out_of_time]
    past_at, recent_at = as_of_at[~out_of_time], as_of_at[out_of_time]
    _require_both_classes(past_y, past_at, "to train on", N_FOLDS)
    _require_both_classes(recent_y, recent_at, "to judge the model by", 1)

    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    with (
        # One thread a fit, and many fits at once: threads that share a fit wait for each other
        # at every step, and many times longer as soon as anything else runs on the machine.
        threadpool_limits(1),
        parallel_config("loky", n_jobs=n_jobs, inner_max_num_threads=1),
        warnings.catch_warnings(),
    ):
        # A candidate that does not converge shows in its score; the terminal is for people.
        warnings.simplefilter("ignore", ConvergenceWarning)
        trials = _search(kind, past, past_y, folds, seed)
        winner = max(trials, key=lambda trial: trial.mean_score)
        estimator = _pipeline(kind, winner.algorithm, past, seed)
        estimator.set_params(**_of_model(winner.parameters))
        calibrated = calibrate(estimator, past, past_y)

    recent_scores = scores(calibrated, recent)
    return FittedModel(
        algorithm=winner.algorithm,
        parameters=winner.parameters,
        estimator=calibrated,
        trials=trials,
        metrics={
            "log_loss": float(log_loss(recent_y, recent_scores)),
            "brier_score": float(brier_score_loss(recent_y, recent_scores)),
            "roc_auc": float(roc_auc_score(recent_y, recent_scores)),
        },
        trained_from=past_at.min(),
        trained_through=past_at.max(),
        judged_from=recent_at.min(),
        judged_through=recent_at.max(),
        n_trained=len(past),
        n_judged=len(recent),
        out_of_time_index=np.flatnonzero(out_of_time),
        out_of_time_scores=recent_scores,
    )


def scores(estimator: ClassifierMixin, X: pd.DataFrame) -> np.ndarray:
    """Return the probability of label 1 for each row of a matrix, shape (rows,)."""
    with threadpool_limits(1):
        return estimator.predict_proba(X)[:, 1]


def calibrate(estimator: Pipeline, X: pd.DataFrame, y: np.ndarray) -> CalibratedClassifierCV:
    """Fit an estimator on all rows, and a sigmoid over its out-of-fold scores (Platt, 1999).

    A sigmoid is strictly increasing: it moves no row past another, makes no ties, and never says
    0 or 1, for which one surprise makes the log loss infinite. Isotonic regression may do the
    last two.
    """
    model = CalibratedClassifierCV(estimator, method="sigmoid", cv=N_FOLDS, ensemble=False)
    return model.fit(X, y)


def _search(
    kind: str, X: pd.DataFrame, y: np.ndarray, folds: StratifiedKFold, seed: int
) -> tuple[Trial, ...]:
    """Try every point of every grid of a kind by cross-validation."""
    trials = []
    for algorithm, candidate in CANDIDATES[kind].items():
        search = GridSearchCV(
            _pipeline(kind, algorithm, X, seed),
            _of_model(candidate.grid),
            scoring="neg_log_loss",
            cv=folds,
            refit=False,
            error_score="raise",
        ).fit(X, y)
        results = search.cv_results_
        for i, parameters in enumerate(results["params"]):
            trials.append(
                Trial(
                    algorithm=algorithm,
                    parameters={k.removeprefix("model__"): v for k, v in parameters.items()},
                    mean_score=float(results["mean_test_score"][i]),
                    std_score=float(results["std_test_score"][i]),
                    fit_seconds=float(results["mean_fit_time"][i]) * N_FOLDS,
                )
            )
    return tuple(trials)


def _pipeline(kind: str, algorithm: str, X: pd.DataFrame, seed: int) -> Pipeline:
    """Return the unfitted pipeline of a candidate for the columns of a matrix."""
    categorical = [name for name in X.columns if not is_numeric_dtype(X[name])]
    return CANDIDATES[kind][algorithm].build(categorical, seed)


def _of_model(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters under the names that a pipeline gives those of its step `model`."""
    return {f"model__{name}": value for name, value in parameters.items()}


def _require_both_classes(y: np.ndarray, as_of_at: pd.Series, purpose: str, n_least: int) -> None:
    """Refuse a slice of time in which a class has fewer than `n_least` rows."""
    n_positive = int(y.sum())
    n_negative = len(y) - n_positive
    if min(n_positive, n_negative) < n_least:
        raise NotEnoughData(
            f"too few outcomes {purpose} between {as_of_at.min()} and {as_of_at.max()}: "
            f"{n_positive} positive and {n_negative} negative rows, at least {n_least} of each "
            "needed; take in more time, or check the label rule of the task"
        )
