"""The algorithms that are tried for each kind of task, and the points of their grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline as ResamplingPipeline
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

# Neighbours between which SMOTE draws a new row: the default of its authors (Chawla et al., 2002).
SMOTE_NEIGHBOURS = 5


@dataclass(frozen=True)
class Candidate:
    """An algorithm to try.

    Attributes:
        build: Makes the unfitted pipeline of the steps `columns` and `model` from the names of the
            categorical columns and a seed.
        grid: What to try, as scikit-learn's `ParameterGrid` reads it: values for each parameter of
            the step `model`, and for `imbalance` (see `fit_pipeline`). The first point is tried
            even when there is no time for another.
        needs_amounts: Whether it only takes labels of which none is negative.
    """

    build: Callable[[Sequence[str], int], Pipeline]
    grid: list[dict[str, list[Any]]]
    needs_amounts: bool = False


def fit_pipeline(
    candidate: Candidate, parameters: dict[str, Any], X: pd.DataFrame, y: np.ndarray, seed: int
) -> Pipeline:
    """Fit one point of a candidate's grid.

    The parameter `imbalance` says what is done about a rare class: `none`; `class_weight`, rows
    weigh as much as makes the classes equal; `smote`, the rarer class is filled up with rows drawn
    between neighbours (Chawla et al., 2002, SMOTE). The last two make scores that are no
    probabilities until they are calibrated on rows as they come. The sampler has done its work
    once the model is fitted, and is not part of what is returned.

    Args:
        candidate: The algorithm.
        parameters: A point of its grid.
        X: A matrix as `FeatureSpec.matrix` makes it, shape (rows, features).
        y: Labels, shape (rows,); with `smote` at least two rows of each class.
        seed: Seeds the algorithm and the sampler.
    """
    categorical = [name for name in X.columns if not is_numeric_dtype(X[name])]
    pipeline = candidate.build(categorical, seed)
    imbalance = parameters.get("imbalance", "none")
    of_model = {name: value for name, value in parameters.items() if name != "imbalance"}
    if imbalance == "class_weight":
        of_model["class_weight"] = "balanced"
    pipeline["model"].set_params(**of_model)
    if imbalance != "smote":
        return pipeline.fit(X, y)
    n_neighbours = min(SMOTE_NEIGHBOURS, int(np.bincount(y).min()) - 1)
    sampler = SMOTE(k_neighbors=n_neighbours, random_state=seed)
    columns, model = pipeline.steps
    fitted = ResamplingPipeline([columns, ("sampler", sampler), model]).fit(X, y)
    return Pipeline([("columns", fitted["columns"]), ("model", fitted["model"])])


def filled_numeric_columns(X: pd.DataFrame) -> list[str]:
    """Name the numeric columns of a matrix that hold a number at all."""
    return [name for name in X.columns if is_numeric_dtype(X[name]) and X[name].notna().any()]


def _on_standardised_columns(
    categorical: Sequence[str], seed: int, *, model: Callable[..., BaseEstimator], **options: Any
) -> Pipeline:
    """Return a pipeline whose model sees complete numbers of one scale, so that SMOTE can too."""
    # Rare categories share one column, and what is unseen joins them.
    texts = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=10, max_categories=100
    )
    numbers = Pipeline(
        [
            ("impute", SimpleImputer(add_indicator=True, keep_empty_features=True)),
            # A number beyond the range learned from counts as its end: one wild value would
            # otherwise get a wild score, and flatten the calibration of all the others.
            ("clip", MinMaxScaler(clip=True)),
            ("scale", StandardScaler()),
        ]
    )
    columns = ColumnTransformer(
        [("categorical", texts, list(categorical))],
        remainder=numbers,
        # Dense however many zeros: forests and networks are many times slower on sparse input.
        sparse_threshold=0.0,
    )
    return Pipeline([("columns", columns), ("model", model(random_state=seed, **options))])


def _on_coded_columns(
    categorical: Sequence[str], seed: int, *, model: Callable[..., BaseEstimator], **options: Any
) -> Pipeline:
    """Return a pipeline of histogram gradient boosting, which takes categories and nulls."""
    texts = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        # The model takes 255 categories a column; beyond that the rarest share one.
        max_categories=255,
    )
    columns = ColumnTransformer(
        [
            ("categorical", texts, list(categorical)),
            ("numeric", "passthrough", filled_numeric_columns),
        ],
        # What is left is empty in the rows fitted on: one fold's, or all until recently. The model
        # takes missing values but no empty column, so it gets a constant, which it ignores.
        remainder=SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True),
    )
    boosting = model(
        # The column transformer puts them first.
        categorical_features=list(range(len(categorical))),
        # The grid says how long to learn; the default would depend on the number of rows.
        early_stopping=False,
        random_state=seed,
        **options,
    )
    return Pipeline([("columns", columns), ("model", boosting)])


# Each tree on half of the rows: nearly as good, in half of the time. One thread: with more of them
# the order in which trees are added up, and so the last bit of a score, is left to chance.
_FOREST = {"n_estimators": 100, "max_samples": 0.5, "n_jobs": 1}

# What is tried for each kind of task. Of equal scores the first wins: simple ones come first.
# What is done about imbalance is tried at one point of a grid, not at each: SMOTE where columns are
# of one scale, so that neighbours are alike; with boosting neither, which calibrated gains nothing
# by weights, and whose bins of weighted rows take longer than the whole fit.
CANDIDATES: dict[str, dict[str, Candidate]] = {
    "binary": {
        "logistic_regression": Candidate(
            partial(_on_standardised_columns, model=LogisticRegression, max_iter=1000),
            [
                {"C": [0.1], "imbalance": ["none", "class_weight", "smote"]},
                {"C": [0.01, 1.0], "imbalance": ["none"]},
            ],
        ),
        "random_forest": Candidate(
            partial(_on_standardised_columns, model=RandomForestClassifier, **_FOREST),
            [
                {"min_samples_leaf": [10], "imbalance": ["none", "class_weight"]},
                {"min_samples_leaf": [5], "imbalance": ["none"]},
            ],
        ),
        "gradient_boosting": Candidate(
            partial(_on_coded_columns, model=HistGradientBoostingClassifier),
            [
                {"learning_rate": [0.05], "max_leaf_nodes": [8], "imbalance": ["none"]},
                {"learning_rate": [0.1], "max_leaf_nodes": [8, 31], "imbalance": ["none"]},
            ],
        ),
        "neural_network": Candidate(
            partial(
                _on_standardised_columns,
                model=MLPClassifier,
                hidden_layer_sizes=(16,),
                # On all rows at once: for so few weights faster than step by step.
                solver="lbfgs",
                max_iter=50,
            ),
            [
                {"alpha": [30.0], "imbalance": ["none", "smote"]},
                {"alpha": [100.0], "imbalance": ["none"]},
            ],
        ),
    },
    "regression": {
        "ridge": Candidate(
            partial(_on_standardised_columns, model=Ridge), [{"alpha": [10.0, 1000.0]}]
        ),
        "random_forest": Candidate(
            # A third of the columns at each split: Breiman's rule for regression.
            partial(
                _on_standardised_columns,
                model=RandomForestRegressor,
                max_features=1 / 3,
                **_FOREST,
            ),
            [{"min_samples_leaf": [10, 5]}],
        ),
        "gradient_boosting": Candidate(
            partial(_on_coded_columns, model=HistGradientBoostingRegressor),
            [{"learning_rate": [0.05], "max_leaf_nodes": [8, 31]}],
        ),
        # Amounts of money, most of them zero: effects multiply, and no forecast is negative.
        "poisson_boosting": Candidate(
            partial(_on_coded_columns, model=HistGradientBoostingRegressor, loss="poisson"),
            [{"learning_rate": [0.05], "max_leaf_nodes": [8, 31]}],
            needs_amounts=True,
        ),
    },
}
