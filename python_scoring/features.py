"""Which columns of a feature relation a model reads, and how they become its input matrix.

A feature relation may hold numbers, booleans, text and jsonb. What becomes of each is learned
once, from the training rows, and kept as a `FeatureSpec` beside the model, so that training and
scoring see the same columns in the same order whatever a batch happens to hold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from python_scoring.errors import LeadlightError

Kind = Literal["numeric", "categorical"]

# What pandas says a column holds, nulls aside; whatever is not named here is no feature.
KIND_OF_CONTENT: dict[str, Kind] = {
    "boolean": "numeric",
    "integer": "numeric",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
    "string": "categorical",
}

# Text with more distinct values than both of these names its rows (an e-mail address, an id):
# a model would learn them by heart.
MAX_DISTINCT = 50
MAX_DISTINCT_SHARE = 0.05

# A JSON key in fewer rows than this tells a model nothing, and ids used as keys would otherwise
# make one column for each row.
MIN_KEY_SHARE = 0.001

# Beyond single precision, squares overflow; no quantity that tells anything is so large.
MAX_NUMBER = float(np.finfo(np.float32).max)

# Every JSON number as a float: no integer is then too long for Python or for float64.
_decode_json = json.JSONDecoder(parse_int=float).decode


@dataclass(frozen=True)
class Feature:
    """One input of a model: a column, or with `key` one top-level key of a JSON column."""

    column: str
    key: str | None
    kind: Kind

    @property
    def name(self) -> str:
        """The column's name, or `<column>.<key>`."""
        return self.column if self.key is None else f"{self.column}.{self.key}"


@dataclass(frozen=True)
class FeatureSpec:
    """The inputs of a model in their order, and what was left out and why.

    Attributes:
        features: In the order of the matrix: the relation's columns, keys of a JSON column sorted.
        dropped: Name of each column or key that is not a feature, with the reason.
    """

    features: tuple[Feature, ...]
    dropped: dict[str, str]

    @property
    def json_columns(self) -> tuple[str, ...]:
        """The columns that are read as JSON."""
        return tuple(dict.fromkeys(f.column for f in self.features if f.key is not None))

    @classmethod
    def learn(cls, frame: pd.DataFrame, json_columns: Collection[str] = ()) -> FeatureSpec:
        """Decide from the training rows what is a feature.

        Numbers and booleans become numeric features, text categorical ones. Of a JSON column each
        top-level key with scalar values becomes a feature, categorical if any value is a string.
        Left out are columns that are empty, that are constant (a null counts as a value: being
        missing can tell something), and text with too many distinct values.

        Args:
            frame: One row per training example, feature columns only, without the keys.
            json_columns: The columns of `frame` that hold JSON as text.

        Raises:
            LeadlightError: A column is neither number, boolean nor text, or holds broken JSON.
        """
        candidates: list[Feature] = []
        dropped: dict[str, str] = {}
        for column in frame.columns:
            if column in json_columns:
                documents = _documents(frame[column])
                for key in _frequent_keys(documents, column, dropped):
                    kind = _kind_of_values(document.get(key) for document in documents)
                    if kind is None:
                        dropped[f"{column}.{key}"] = "holds no number, boolean or text"
                    else:
                        candidates.append(Feature(column, key, kind))
            elif (kind := _kind_of_column(frame[column])) is None:
                dropped[column] = "empty"
            else:
                candidates.append(Feature(column, None, kind))

        matrix = cls(tuple(candidates), {}).matrix(frame)
        features = []
        for feature in candidates:
            if reason := _reason_to_drop(matrix[feature.name], feature.kind):
                dropped[feature.name] = reason
            else:
                features.append(feature)
        return cls(tuple(features), dropped)

    def matrix(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the model's input for the rows of `frame`.

        Args:
            frame: One row per entity and time; columns that are no feature are ignored.

        Returns:
            One row per row of `frame`, under its index; one column per feature, in their order.
            Numeric features are float64, categorical ones text in object columns. What is missing,
            be it a value, a key or the whole column, and numbers beyond `MAX_NUMBER` are NaN.

        Raises:
            LeadlightError: A column changed its kind since the spec was learned, or holds broken
                JSON.
        """
        documents = {
            column: _documents(frame[column])
            for column in self.json_columns
            if column in frame.columns
        }
        columns: dict[str, pd.Series] = {}
        for feature in self.features:
            if feature.column not in frame.columns:
                values = np.full(len(frame), np.nan)
            elif feature.key is not None:
                values = _key_values(documents[feature.column], feature)
            else:
                values = _column_values(frame[feature.column], feature.kind)
            dtype = np.float64 if feature.kind == "numeric" else object
            columns[feature.name] = pd.Series(values, index=frame.index, dtype=dtype)
        if len(columns) < len(self.features):
            names = Counter(feature.name for feature in self.features)
            raise LeadlightError(
                f"two features are called {names.most_common(1)[0][0]}: "
                "rename the column or the JSON key in the feature model"
            )
        return pd.DataFrame(columns, index=frame.index)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain lists and strings; the features are a list, for their order."""
        return {"features": [asdict(f) for f in self.features], "dropped": dict(self.dropped)}

    @classmethod
    def from_json(cls, spec: dict[str, Any]) -> FeatureSpec:
        """Return the spec that `to_json` wrote."""
        return cls(tuple(Feature(**f) for f in spec["features"]), dict(spec["dropped"]))


def _kind_of_column(series: pd.Series) -> Kind | None:
    """Return the kind of a column, None where nothing but nulls says what it is."""
    content = infer_dtype(series, skipna=True)
    if content == "empty":
        return None
    if content not in KIND_OF_CONTENT:
        raise LeadlightError(
            f"feature column {series.name} holds {content} values ({series.dtype}): make it a "
            "number, a boolean or text in the feature model, or leave it out"
        )
    return KIND_OF_CONTENT[content]


def _kind_of_values(values: Iterable[Any]) -> Kind | None:
    """Return the kind of a JSON key's values, None where no value is a scalar."""
    types = set(map(type, values))
    if str in types:
        return "categorical"
    return "numeric" if types & {float, bool} else None


def _column_values(series: pd.Series, kind: Kind) -> np.ndarray:
    """Return a column's values, shape (rows,), as floats or as text with NaN for null."""
    found = _kind_of_column(series)
    if found != kind:
        if not series.isna().all():
            raise LeadlightError(
                f"feature column {series.name} was {kind} when the model was trained and is "
                f"{found} now: train the task again"
            )
        return np.full(len(series), np.nan)
    if kind == "numeric":
        return _bounded(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return series.to_numpy(dtype=object, na_value=np.nan)


def _key_values(documents: list[dict[str, Any]], feature: Feature) -> np.ndarray:
    """Return a JSON key's values, shape (rows,), as floats or as text with NaN for missing."""
    values = [document.get(feature.key) for document in documents]
    if feature.kind == "numeric":
        numbers = [v if type(v) is float or type(v) is bool else np.nan for v in values]
        return _bounded(np.array(numbers, dtype=np.float64))
    return np.array([v if type(v) is str else _text(v) for v in values], dtype=object)


def _text(value: Any) -> str | float:
    """Return a JSON number or boolean as JSON would write it, anything else as NaN."""
    if type(value) is bool:
        return "true" if value else "false"
    return repr(value).removesuffix(".0") if type(value) is float else np.nan


def _bounded(values: np.ndarray) -> np.ndarray:
    """Return the numbers with NaN for what is infinite or beyond `MAX_NUMBER`."""
    return np.where(np.abs(values) <= MAX_NUMBER, values, np.nan)


def _documents(series: pd.Series) -> list[dict[str, Any]]:
    """Parse a JSON column: one dictionary per row, empty where there is no JSON object."""
    documents = []
    try:
        for text in series.to_numpy(dtype=object, na_value=None):
            document = None if text is None else _decode_json(text)
            documents.append(document if type(document) is dict else {})
    except (TypeError, ValueError, RecursionError) as error:
        raise LeadlightError(
            f"column {series.name} was to be read as JSON and row {len(documents) + 1} is not "
            f"JSON text: {error}"
        ) from error
    return documents


def _frequent_keys(
    documents: list[dict[str, Any]], column: str, dropped: dict[str, str]
) -> list[str]:
    """Return the sorted keys that enough rows have; the others are noted as one entry."""
    counts = Counter(chain.from_iterable(documents))
    keys = [key for key, n in counts.items() if n >= MIN_KEY_SHARE * len(documents)]
    if len(keys) < len(counts):
        dropped[f"{column}.*"] = (
            f"{len(counts) - len(keys)} rare keys, each in fewer than {MIN_KEY_SHARE:.1%} of rows"
        )
    return sorted(keys)


def _reason_to_drop(values: pd.Series, kind: Kind) -> str | None:
    """Return why a column of the training matrix is no use as a feature, None where it is."""
    n_distinct = values.nunique()
    if n_distinct == 0:
        return "empty"
    if n_distinct == 1 and not values.hasnans:
        return "constant"
    if kind == "categorical" and n_distinct > max(MAX_DISTINCT, MAX_DISTINCT_SHARE * len(values)):
        return f"{n_distinct} distinct values in {len(values)} rows"
    return None
