"""Fits a task's model: grid search on the past, calibration, a judgement in time.

The rows are split once, in time. Everything that is chosen (algorithm, parameters, calibration)
is chosen on the older rows by cross-validation; the most recent rows only judge the outcome.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from joblib import parallel_config
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits

from python_scoring.candidates import CANDIDATES, Candidate, fit_pipeline
from python_scoring.errors import LeadlightError, NotEnoughData
from python_scoring.features import MAX_NUMBER

# What `loss` is called, by kind.
LOSS_NAMES = {"binary": "log loss", "regression": "mean squared error"}

N_FOLDS = 3
OUT_OF_TIME_SHARE = 0.2
BUDGET_SECONDS = 120.0

# Log odds of 1 in 100,000: what a model says beyond that, rows in their thousands cannot confirm.
MAX_LOG_ODDS = float(logit(1 - 1e-5))

# A model that ranks worse than chance is not turned around, it says nearly the same of every row;
# and of a model that says nearly the same of every row, the little differences are not blown up.
MIN_SLOPE, MAX_SLOPE = 0.01, 10.0


class Estimator(Protocol):
    """What is fitted, stored and applied, whatever the kind of its task."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return what is predicted for each row of a matrix, shape (rows,)."""


@dataclass(frozen=True)
class SigmoidResponse:
    """Turns what a classifier says into a probability: Platt's sigmoid over its log odds.

    A sigmoid is strictly increasing, so it moves no row past another, as isotonic regression may;
    over log odds it can leave a calibrated model as it is, and takes back exactly the shift that
    class weights bring. It never says 0 or 1, for which one surprise makes the log loss infinite.

    Attributes:
        slope: Between `MIN_SLOPE` and `MAX_SLOPE`.
        intercept: In log odds.
    """

    slope: float
    intercept: float

    @staticmethod
    def read(pipeline: Pipeline, X: pd.DataFrame) -> np.ndarray:
        """Return the log odds that a fitted classifier gives to label 1, shape (rows,)."""
        return _bounded_log_odds(logit(pipeline.predict_proba(X)[:, 1]))

    @classmethod
    def learn(cls, log_odds: np.ndarray, y: np.ndarray) -> SigmoidResponse:
        """Fit the sigmoid of Platt (1999) on scores of rows that the classifier was not fitted on.

        Args:
            log_odds: As `read` gives them, shape (rows,).
            y: Labels 0 or 1, shape (rows,).
        """
        n_positive = int(np.sum(y))
        n_negative = len(y) - n_positive
        # Platt's targets: as if one row more of each class had been seen, lest a classifier that
        # made no mistake on a few rows be sure of itself.
        target = np.where(y == 1, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

        def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            z = parameters[0] * log_odds + parameters[1]
            residual = expit(z) - target
            loss = np.mean(np.logaddexp(0.0, z) - target * z)
            return loss, np.array([np.mean(residual * log_odds), np.mean(residual)])

        slope, intercept = minimize(
            loss_and_gradient,
            x0=[1.0, 0.0],
            jac=True,
            method="L-BFGS-B",
            bounds=[(MIN_SLOPE, MAX_SLOPE), (None, None)],
        ).x
        return cls(float(slope), float(intercept))

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """Return probabilities of label 1 in (0, 1), shape (rows,)."""
        return expit(_bounded_log_odds(self.slope * log_odds + self.intercept))


@dataclass(frozen=True)
class FlooredResponse:
    """Passes on what a regressor says, but nothing negative where no label was.

    Attributes:
        floor: 0 if no label that was learned from is negative, otherwise None.
    """

    floor: float | None

    @staticmethod
    def read(pipeline: Pipeline, X: pd.DataFrame) -> np.ndarray:
        """Return what a fitted regressor says, in the unit of the labels, shape (rows,)."""
        return pipeline.predict(X)

    @classmethod
    def learn(cls, values: np.ndarray, y: np.ndarray) -> FlooredResponse:
        """Learn from labels, shape (rows,), whether they can be negative."""
        return cls(0.0 if y.min() >= 0 else None)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return predictions in the unit of the labels, shape (rows,)."""
        return values if self.floor is None else np.maximum(values, self.floor)


Response = SigmoidResponse | FlooredResponse
RESPONSES: dict[str, type[Response]] = {"binary": SigmoidResponse, "regression": FlooredResponse}


@dataclass(frozen=True)
class Predictor:
    """A fitted model of a binary or regression task.

    Attributes:
        pipeline: The fitted steps `columns` and `model` of a candidate.
        response: What makes a prediction of what the pipeline says.
    """

    pipeline: Pipeline
    response: Response

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return a probability of label 1, or a value in the labels' unit, for each row."""
        return self.response(self.response.read(self.pipeline, X))


@dataclass(frozen=True)
class Trial:
    """One point of a grid: what was tried and how well it did.

    `mean_score` and `std_score` are over the folds, of the negative loss of the kind (see `loss`):
    greater is better. `fit_seconds` is the fitting time summed over the folds.
    """

    algorithm: str
    parameters: dict[str, Any]
    mean_score: float
    std_score: float
    fit_seconds: float


@dataclass(frozen=True)
class FittedModel:
    """The winner with everything that is known about it.

    Attributes:
        algorithm: Name of the candidate that won.
        parameters: Its point of the grid.
        estimator: Fitted on the past alone; `predict` applies it.
        trials: Every point that was tried, in the order of trying.
        n_trials_left_out: Points that the time budget left no time for.
        metrics: What `judge` says of the out-of-time rows.
        trained_from: First `as_of_at` of the past.
        trained_through: Last `as_of_at` of the past.
        judged_from: First `as_of_at` out of time, later than `trained_through`.
        judged_through: Last `as_of_at` out of time.
        n_trained: Rows of the past.
        n_judged: Rows out of time.
        out_of_time_index: Positions of the out-of-time rows in the input, shape (n_judged,).
        out_of_time_predictions: What is predicted for them, shape (n_judged,).
    """

    algorithm: str
    parameters: dict[str, Any]
    estimator: Predictor
    trials: tuple[Trial, ...]
    n_trials_left_out: int
    metrics: dict[str, float | None]
    trained_from: pd.Timestamp
    trained_through: pd.Timestamp
    judged_from: pd.Timestamp
    judged_through: pd.Timestamp
    n_trained: int
    n_judged: int
    out_of_time_index: np.ndarray
    out_of_time_predictions: np.ndarray


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
        NotEnoughData: All rows are of one day.
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
    kind: str,
    X: pd.DataFrame,
    y: np.ndarray,
    as_of_at: pd.Series,
    *,
    seed: int,
    entities: Sequence[Any] | None = None,
    n_jobs: int = -1,
    budget_seconds: float = BUDGET_SECONDS,
) -> FittedModel:
    """Choose, calibrate and judge a model.

    Every point of every grid is tried by three-fold cross-validation, and what comes out of the
    folds is judged by the loss of the kind (see `loss`) after the response has been applied. To a
    binary task this matters: class weights and SMOTE distort what a classifier says, and compared
    by its own log odds it would always lose. So the rows of each fold are scored by a sigmoid that
    was learned from the out-of-fold scores of the other folds: neither the model nor the sigmoid
    that a row is scored by was fitted on that row. The winner is fitted once more on all of the
    past, under the response that was learned from all out-of-fold scores: on rows as they come,
    none of them drawn by a sampler.

    The same input and seed give the same model, unless the time budget cuts the search short.

    Args:
        kind: Kind of the task, a key of `CANDIDATES`.
        X: A matrix as `FeatureSpec.matrix` makes it, shape (rows, features).
        y: Labels, shape (rows,): 0 or 1; of a regression numbers.
        as_of_at: Time of each row, shape (rows,).
        seed: Seeds the folds and the algorithms.
        entities: Whom or what each row is about, shape (rows,). All rows of an entity are in one
            fold, lest a model do well by knowing it again. None where no two rows share one.
        n_jobs: Fits at once, -1 for one per core.
        budget_seconds: Time for the search. What has not begun when it is used up is left out, but
            for the first point of each algorithm.

    Raises:
        LeadlightError: No candidates for the kind, or labels that are no numbers.
        NotEnoughData: No rows, features or second day; outcomes too few or too much alike to learn
            from or to judge by.
    """
    if kind not in CANDIDATES:
        raise LeadlightError(
            f"no algorithm for tasks of kind {kind}: known kinds are {', '.join(CANDIDATES)}"
        )
    require_rows_and_features(X)
    y = np.asarray(y, dtype=np.float64)
    is_number = np.abs(y) <= MAX_NUMBER
    if not is_number.all():
        raise LeadlightError(
            f"{np.sum(~is_number)} of {len(y)} labels are missing or beyond all bounds: check the "
            "label rule of the task and the amounts of its outcome event"
        )
    if kind == "binary":
        y = y.astype(int)
    out_of_time = out_of_time_split(as_of_at)
    past, recent = X[~out_of_time], X[out_of_time]
    past_y, recent_y = y[~out_of_time], y[out_of_time]
    past_at, recent_at = as_of_at[~out_of_time], as_of_at[out_of_time]
    entities = np.arange(len(y)) if entities is None else np.asarray(entities)
    fold = _folds(past_y, entities[~out_of_time], seed)
    if fold is None:
        raise _too_few_outcomes(kind, past_y, past_at, "to train on", N_FOLDS)
    if kind == "binary" and len(np.unique(recent_y)) < 2:
        raise _too_few_outcomes(kind, recent_y, recent_at, "to judge the model by", 1)

    points = _grid_points(kind, past_y)
    with one_thread_a_fit(n_jobs):
        trials, raw = _search(kind, points, past, past_y, fold, seed, budget_seconds)
        best = max(range(len(trials)), key=lambda i: trials[i].mean_score)
        winner = trials[best]
        candidate = CANDIDATES[kind][winner.algorithm]
        estimator = Predictor(
            fit_pipeline(candidate, winner.parameters, past, past_y, seed),
            RESPONSES[kind].learn(raw[best], past_y),
        )
    predictions = predict(estimator, recent)
    return FittedModel(
        algorithm=winner.algorithm,
        parameters=winner.parameters,
        estimator=estimator,
        trials=trials,
        n_trials_left_out=len(points) - len(trials),
        metrics=judge(kind, recent_y, predictions),
        trained_from=past_at.min(),
        trained_through=past_at.max(),
        judged_from=recent_at.min(),
        judged_through=recent_at.max(),
        n_trained=len(past),
        n_judged=len(recent),
        out_of_time_index=np.flatnonzero(out_of_time),
        out_of_time_predictions=predictions,
    )


def predict(estimator: Estimator, X: pd.DataFrame) -> np.ndarray:
    """Return what a fitted estimator predicts for each row of a matrix, shape (rows,).

    A probability in (0, 1) for a binary task; a finite value in the labels' unit for a regression,
    not negative where no label was; the number of a segment, an integer, for a clustering.
    """
    with threadpool_limits(1):
        return estimator.predict(X)


def loss(kind: str, y: np.ndarray, predictions: np.ndarray) -> float:
    """Return the loss that models of a kind are chosen and compared by.

    Binary: log loss, in nats. Regression: mean squared error, in the labels' unit squared; its
    root is the RMSE, and both rank models alike.

    Args:
        kind: `binary` or `regression`.
        y: Labels, shape (rows,).
        predictions: As `predict` gives them, shape (rows,).
    """
    if kind == "binary":
        return float(log_loss(y, predictions, labels=[0, 1]))
    return float(mean_squared_error(y, predictions))


def judge(kind: str, y: np.ndarray, predictions: np.ndarray) -> dict[str, float | None]:
    """Return the metrics of predictions on rows that the model has not seen.

    Binary: `log_loss`, `brier_score` and `roc_auc`. Regression, in the labels' unit: `rmse`, `mae`
    and `bias`, the mean of prediction less label; and `r2`, None where all labels are alike.

    Args:
        kind: `binary` or `regression`.
        y: Labels, shape (rows,); of a binary task both classes.
        predictions: As `predict` gives them, shape (rows,).
    """
    if kind == "binary":
        return {
            "log_loss": loss(kind, y, predictions),
            "brier_score": float(brier_score_loss(y, predictions)),
            "roc_auc": float(roc_auc_score(y, predictions)),
        }
    return {
        "rmse": loss(kind, y, predictions) ** 0.5,
        "mae": float(mean_absolute_error(y, predictions)),
        "r2": float(r2_score(y, predictions)) if np.ptp(y) > 0 else None,
        "bias": float(np.mean(predictions - y)),
    }


def require_rows_and_features(X: pd.DataFrame) -> None:
    """Refuse a matrix from which nothing can be learned.

    Raises:
        NotEnoughData: It has no rows or no columns.
    """
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


@contextmanager
def one_thread_a_fit(n_jobs: int) -> Iterator[None]:
    """Run `n_jobs` fits at once, and quietly, whatever is fitted inside the block.

    Threads that share a fit wait for each other at every step, and many times longer as soon as
    anything else runs on the machine.
    """
    with (
        threadpool_limits(1),
        parallel_config("loky", n_jobs=n_jobs, inner_max_num_threads=1),
        warnings.catch_warnings(),
    ):
        # A candidate that does not converge shows in its score; the terminal is for people.
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def run_within(
    budget_seconds: float, points: Sequence[Any], n_always: int, jobs_of: Callable[[Any], list]
) -> list[list[Any]]:
    """Run the jobs of one point after the other until time is up, several jobs at once.

    A point that has begun is finished.

    Args:
        budget_seconds: Points begin no later than this after the call, but for the first ones.
        points: In the order of trying.
        n_always: So many of the first points are run whatever time it takes.
        jobs_of: Returns the jobs of a point as `delayed` calls.

    Returns:
        The results of the jobs of each point that was run.
    """
    deadline = time.monotonic() + budget_seconds
    n_jobs_of_point: list[int] = []

    def jobs_in_time() -> Iterator[Any]:
        for point in points:
            if len(n_jobs_of_point) >= n_always and time.monotonic() >= deadline:
                return
            jobs = jobs_of(point)
            n_jobs_of_point.append(len(jobs))
            yield from jobs

    # One job at a time, asked for when a process is free: the deadline is not overtaken.
    results = iter(Parallel(batch_size=1, pre_dispatch="n_jobs")(jobs_in_time()))
    return [[next(results) for _ in range(n)] for n in n_jobs_of_point]


def _folds(y: np.ndarray, entities: np.ndarray, seed: int) -> np.ndarray | None:
    """Deal entities out to folds, those with a high label evenly.

    Returns:
        The fold of each row, 0 to `N_FOLDS` - 1, shape (rows,). None where there are fewer high or
        low labels than folds, or fewer than two of them in the rows that a fold is fitted on.
    """
    is_high = _is_high(y)
    distinct, entity = np.unique(entities, return_inverse=True)
    has_high = np.bincount(entity, weights=is_high) > 0
    order = np.random.default_rng(seed).permutation(len(distinct))
    order = order[np.argsort(has_high[order], kind="stable")]
    fold_of_entity = np.empty(len(distinct), dtype=int)
    fold_of_entity[order] = np.arange(len(distinct)) % N_FOLDS
    fold = fold_of_entity[entity]
    for side in (is_high, ~is_high):
        n_fitted_on = side.sum() - np.bincount(fold[side], minlength=N_FOLDS)
        if side.sum() < N_FOLDS or n_fitted_on.min() < 2:
            return None
    return fold


def _is_high(y: np.ndarray) -> np.ndarray:
    """Halve labels as well as they can be: positives, payers, or those above the median."""
    is_above = y > np.median(y)
    return is_above if is_above.any() else y == y.max()


def _grid_points(kind: str, y: np.ndarray) -> list[tuple[str, dict[str, Any]]]:
    """Return what to try for labels: the first point of each algorithm, then all the others."""
    grids = [
        [(algorithm, parameters) for parameters in ParameterGrid(candidate.grid)]
        for algorithm, candidate in CANDIDATES[kind].items()
        if y.min() >= 0 or not candidate.needs_amounts
    ]
    return [grid[0] for grid in grids] + [point for grid in grids for point in grid[1:]]


def _search(
    kind: str,
    points: list[tuple[str, dict[str, Any]]],
    X: pd.DataFrame,
    y: np.ndarray,
    fold: np.ndarray,
    seed: int,
    budget_seconds: float,
) -> tuple[tuple[Trial, ...], list[np.ndarray]]:
    """Try points by cross-validation; return the trials, and the out-of-fold raw values of each.

    Raw is what the response takes, shape (rows,).
    """

    def jobs_of(point: tuple[str, dict[str, Any]]) -> list:
        algorithm, parameters = point
        candidate = CANDIDATES[kind][algorithm]
        return [
            delayed(_fit_fold)(kind, candidate, parameters, X, y, fold == k, seed)
            for k in range(N_FOLDS)
        ]

    n_algorithms = len({algorithm for algorithm, _ in points})
    results = run_within(budget_seconds, points, n_algorithms, jobs_of)
    trials, raws = [], []
    for (algorithm, parameters), parts in zip(points, results, strict=False):
        raw = np.empty(len(y))
        for k, (values, _) in enumerate(parts):
            raw[fold == k] = values
        scores = [-_held_out_loss(kind, raw, y, fold == k) for k in range(N_FOLDS)]
        trials.append(
            Trial(
                algorithm=algorithm,
                parameters=parameters,
                mean_score=float(np.mean(scores)),
                std_score=float(np.std(scores)),
                fit_seconds=sum(seconds for _, seconds in parts),
            )
        )
        raws.append(raw)
    return tuple(trials), raws


def _fit_fold(
    kind: str,
    candidate: Candidate,
    parameters: dict[str, Any],
    X: pd.DataFrame,
    y: np.ndarray,
    is_held_out: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, float]:
    """Fit without the rows held out; return the raw values of those, and the fitting seconds."""
    began = time.perf_counter()
    pipeline = fit_pipeline(candidate, parameters, X[~is_held_out], y[~is_held_out], seed)
    seconds = time.perf_counter() - began
    return RESPONSES[kind].read(pipeline, X[is_held_out]), seconds


def _held_out_loss(kind: str, raw: np.ndarray, y: np.ndarray, is_held_out: np.ndarray) -> float:
    """Return the loss of a fold under the response that the other folds teach."""
    response = RESPONSES[kind].learn(raw[~is_held_out], y[~is_held_out])
    return loss(kind, y[is_held_out], response(raw[is_held_out]))


def _bounded_log_odds(log_odds: np.ndarray) -> np.ndarray:
    return np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)


def _too_few_outcomes(
    kind: str, y: np.ndarray, as_of_at: pd.Series, purpose: str, n_least: int
) -> NotEnoughData:
    """Return the refusal of a slice of time whose labels are too much alike."""
    is_high, high, low = _is_high(y), "high", "low"
    if kind == "binary":
        is_high, high, low = y == 1, "positive", "negative"
    return NotEnoughData(
        f"too few outcomes {purpose} between {as_of_at.min()} and {as_of_at.max()}: "
        f"{is_high.sum()} {high} and {(~is_high).sum()} {low} labels, at least {n_least} of each "
        "needed, of as many entities; take in more time, or check the label rule of the task"
    )
