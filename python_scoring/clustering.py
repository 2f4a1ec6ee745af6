"""Finds segments: k-means on standardised features, under numbers that outlast a retraining.

Nothing is foretold, so nothing is held back to judge by: all rows are learned from.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.utils.parallel import delayed

from python_scoring.errors import NotEnoughData
from python_scoring.fitting import (
    BUDGET_SECONDS,
    one_thread_a_fit,
    predict,
    require_rows_and_features,
    run_within,
)

N_SEGMENTS = range(2, 9)
N_STARTS = 3
MAX_SILHOUETTE_ROWS = 3_000

# Beyond these shares of the rows a number counts as the one at the edge: k-means would otherwise
# make segments of single wild rows.
LOW_SHARE, HIGH_SHARE = 0.01, 0.99
MAX_SKEWNESS = 1.0

# A text in fewer rows than this share makes no difference between segments.
MIN_LEVEL_SHARE = 0.01

# A segment is called after its features that are so many standard deviations from the mean.
MIN_DISTINCTION = 0.5


@dataclass(frozen=True)
class Axis:
    """A direction in which rows differ: a number, or with `level` having one text or not."""

    feature: str
    level: str | None


@dataclass(frozen=True)
class Space:
    """The standardised space in which distances between rows are measured.

    A number is filled with its median where it is missing, kept between two quantiles, put on a
    logarithmic scale where it is skewed to the right and not negative, and standardised. A text
    becomes one axis of 0 or 1 for each frequent level, and is at none of them where it is missing
    or rare. Those stay as they are: a text then weighs at most as much as a number.

    Attributes:
        numbers: Names of the numeric features.
        medians: What fills a missing number, shape (numbers,).
        lows: Least value that counts, shape (numbers,).
        highs: Greatest value that counts, shape (numbers,).
        is_log: Whether log(1 + x) is taken, shape (numbers,).
        means: Of the numbers on their scale, shape (numbers,).
        stds: Of the same, 1 where they are constant, shape (numbers,).
        levels: The frequent levels of each categorical feature.
    """

    numbers: list[str]
    medians: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    is_log: np.ndarray
    means: np.ndarray
    stds: np.ndarray
    levels: dict[str, list[str]]

    @classmethod
    def learn(cls, X: pd.DataFrame) -> Space:
        """Learn the space from a matrix as `FeatureSpec.matrix` makes it."""
        numbers = [n for n in X.columns if is_numeric_dtype(X[n]) and X[n].notna().any()]
        levels = {}
        for feature in X.columns:
            if not is_numeric_dtype(X[feature]):
                shares = X[feature].value_counts() / len(X)
                levels[feature] = sorted(shares.index[shares >= MIN_LEVEL_SHARE])
        known = X[numbers]
        lows = known.quantile(LOW_SHARE).to_numpy()
        highs = known.quantile(HIGH_SHARE).to_numpy()
        medians = known.median().to_numpy()
        within = known.fillna(known.median()).clip(lows, highs, axis=1)
        is_log = (lows >= 0) & (within.skew().to_numpy() > MAX_SKEWNESS)
        scaled = _on_scale(within.to_numpy(), is_log)
        stds = scaled.std(axis=0)
        return cls(
            numbers=numbers,
            medians=medians,
            lows=lows,
            highs=highs,
            is_log=is_log,
            means=scaled.mean(axis=0),
            stds=np.where(stds > 0, stds, 1.0),
            levels=levels,
        )

    @property
    def axes(self) -> list[Axis]:
        """The axes in the order of the coordinates: the numbers, then the levels."""
        return [Axis(feature, None) for feature in self.numbers] + [
            Axis(feature, level) for feature, levels in self.levels.items() for level in levels
        ]

    def coordinates(self, X: pd.DataFrame) -> np.ndarray:
        """Return where rows stand, shape (rows, axes), without NaN."""
        numbers = X[self.numbers].fillna(dict(zip(self.numbers, self.medians, strict=True)))
        has_level = [X[axis.feature] == axis.level for axis in self.axes[len(self.numbers) :]]
        return np.column_stack([self._standardise(numbers.to_numpy()), *has_level])

    def in_units(self, centers: np.ndarray) -> pd.DataFrame:
        """Return centres, shape (centres, axes), in units of the features and shares of levels."""
        n = len(self.numbers)
        scaled = centers[:, :n] * self.stds + self.means
        numbers = np.where(self.is_log, np.expm1(np.where(self.is_log, scaled, 0.0)), scaled)
        return pd.DataFrame(np.column_stack([numbers, centers[:, n:]]), columns=self.axes)

    def place(self, in_units: pd.DataFrame) -> pd.DataFrame:
        """Return where the centres of another space stand in this one, on the axes of both.

        Args:
            in_units: What `in_units` of the other space returned.
        """
        n = len(self.numbers)
        known = in_units.reindex(columns=self.axes).to_numpy()
        placed = np.column_stack([self._standardise(known[:, :n]), known[:, n:]])
        # What the other space has no axis for is missing now.
        return pd.DataFrame(placed, index=in_units.index, columns=self.axes).dropna(axis=1)

    def _standardise(self, values: np.ndarray) -> np.ndarray:
        """Return numbers, shape (rows, numbers), as coordinates."""
        return (_on_scale(values.clip(self.lows, self.highs), self.is_log) - self.means) / self.stds


@dataclass(frozen=True)
class Segmenter:
    """A fitted clustering; `fitting.predict` applies it.

    Attributes:
        space: Where distances are measured.
        centers: The middle of each segment in that space, shape (segments, axes).
        numbers: The number of each segment, shape (segments,).
        highest_number: The highest that any version of the task has given, this one or before.
    """

    space: Space
    centers: np.ndarray
    numbers: np.ndarray
    highest_number: int

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the number of the segment whose middle is nearest, an integer for each row."""
        return self.numbers[cdist(self.space.coordinates(X), self.centers).argmin(axis=1)]

    @property
    def centroids(self) -> pd.DataFrame:
        """The middles in units of the features, one row per segment under its number."""
        return self.space.in_units(self.centers).set_index(self.numbers)


@dataclass(frozen=True)
class ClusterTrial:
    """One number of segments that was tried.

    `silhouette` in [-1, 1] is of a sample, greater is better; `davies_bouldin` and `inertia`, the
    sum of squared distances to the middles, are of all rows, less is better.
    """

    n_segments: int
    silhouette: float
    davies_bouldin: float
    inertia: float
    fit_seconds: float


@dataclass(frozen=True)
class Segment:
    """A segment: its number, a unique name made of what sets it apart, and its rows."""

    segment: int
    name: str
    size: int


@dataclass(frozen=True)
class SegmentFeature:
    """What a feature is like in a segment.

    Attributes:
        segment: Number of the segment.
        feature: Name of the feature.
        level: A text that it may have; None for a number.
        mean: Of the members, in the feature's unit, missing numbers aside; of a text its share.
            None where no member has a number.
        overall_mean: The same of all rows.
        z_score: Distance of the segment's mean from that of all rows, in standard deviations of
            the rows, both on the scale that distances are measured on.
    """

    segment: int
    feature: str
    level: str | None
    mean: float | None
    overall_mean: float
    z_score: float


@dataclass(frozen=True)
class FittedClusters:
    """The best clustering with everything that is known about it.

    Attributes:
        algorithm: Name of the algorithm.
        parameters: Its parameters.
        estimator: `predict` applies it.
        trials: Every number of segments that was tried.
        n_trials_left_out: Those that the time budget left no time for.
        n_silhouette_rows: Size of the sample that the silhouettes are of.
        metrics: `silhouette`, `davies_bouldin` and `inertia` of the winner.
        segments: One for each, by number.
        features: One for each segment and axis, by segment.
        vanished: Numbers of the previous version's segments that no segment continues.
        assigned: Number of the segment of each row, shape (rows,).
        trained_from: First `as_of_at`.
        trained_through: Last `as_of_at`.
        n_trained: Rows learned from.
    """

    algorithm: str
    parameters: dict[str, int]
    estimator: Segmenter
    trials: tuple[ClusterTrial, ...]
    n_trials_left_out: int
    n_silhouette_rows: int
    metrics: dict[str, float]
    segments: tuple[Segment, ...]
    features: tuple[SegmentFeature, ...]
    vanished: tuple[int, ...]
    assigned: np.ndarray
    trained_from: pd.Timestamp
    trained_through: pd.Timestamp
    n_trained: int


def fit_clusters(
    X: pd.DataFrame,
    as_of_at: pd.Series,
    *,
    seed: int,
    previous: Segmenter | None = None,
    n_jobs: int = -1,
    budget_seconds: float = BUDGET_SECONDS,
) -> FittedClusters:
    """Find segments; how many is decided by the silhouette (Rousseeuw, 1987).

    The same input and seed give the same segments, unless the time budget cuts the search short.

    Args:
        X: A matrix as `FeatureSpec.matrix` makes it, shape (rows, features).
        as_of_at: Time of each row, shape (rows,).
        seed: Seeds the starts of k-means and the sample for the silhouette.
        previous: The clustering in force, whose numbers go on where its segments do.
        n_jobs: Fits at once, -1 for one per core.
        budget_seconds: Time for the search. What has not begun when it is used up is left out, but
            for the first number of segments.

    Raises:
        NotEnoughData: No rows or features, or fewer than three rows that differ.
    """
    require_rows_and_features(X)
    space = Space.learn(X)
    coordinates = space.coordinates(X)
    n_distinct = len(np.unique(coordinates, axis=0))
    if n_distinct <= N_SEGMENTS[0]:
        raise NotEnoughData(
            f"the {len(X)} rows to find segments in are too much alike: {n_distinct} of them "
            f"differ in their features, more than {N_SEGMENTS[0]} are needed"
        )
    sample = np.random.default_rng(seed).permutation(len(X))[:MAX_SILHOUETTE_ROWS]
    counts = [n for n in N_SEGMENTS if n < n_distinct]
    with one_thread_a_fit(n_jobs):
        results = run_within(
            budget_seconds,
            counts,
            1,
            lambda n: [delayed(_fit_k_means)(coordinates, n, sample, seed)],
        )
    trials = tuple(trial for ((trial, _),) in results)
    best = max(range(len(trials)), key=lambda i: trials[i].silhouette)
    winner, (_, centers) = trials[best], results[best][0]

    # The most populous first: that is the order of new numbers.
    sizes = np.bincount(cdist(coordinates, centers).argmin(axis=1), minlength=len(centers))
    centers = centers[np.argsort(-sizes, kind="stable")]
    estimator = _numbered(space, centers, previous)
    assigned = predict(estimator, X)
    segments, features = _describe(X, estimator, coordinates, assigned)
    known = [] if previous is None else previous.numbers.tolist()
    return FittedClusters(
        algorithm="k_means",
        parameters={"n_segments": winner.n_segments},
        estimator=estimator,
        trials=trials,
        n_trials_left_out=len(counts) - len(trials),
        n_silhouette_rows=len(sample),
        metrics={
            "silhouette": winner.silhouette,
            "davies_bouldin": winner.davies_bouldin,
            "inertia": winner.inertia,
        },
        segments=segments,
        features=features,
        vanished=tuple(sorted(set(known) - set(estimator.numbers.tolist()))),
        assigned=assigned,
        trained_from=as_of_at.min(),
        trained_through=as_of_at.max(),
        n_trained=len(X),
    )


def match_segments(old_centroids: pd.DataFrame, new_centroids: pd.DataFrame) -> dict[int, int]:
    """Find out which new segments continue old ones.

    Pairs are chosen so that the distances within them are least in sum (the Hungarian method,
    Kuhn, 1955). A pair does not hold if its middle has moved further than any neighbour of it
    lies, before or now: that is another segment in the place of one that vanished. All moves that
    far count the same, lest one of them draw the other pairs apart.

    Args:
        old_centroids: One row per old segment under its number, one column per axis, in the same
            standardised space as the new ones.
        new_centroids: One row per new segment. Only the axes that both know are compared.

    Returns:
        The old segment's label for the label of each new segment that continues one.
    """
    shared = [axis for axis in new_centroids.columns if axis in old_centroids.columns]
    if not shared:
        return {}
    old, new = old_centroids[shared].to_numpy(), new_centroids[shared].to_numpy()
    moved = cdist(new, old)
    limit = np.maximum.outer(_to_nearest_other(new), _to_nearest_other(old))
    return {
        new_centroids.index[i]: int(old_centroids.index[j])
        for i, j in zip(*linear_sum_assignment(np.minimum(moved, limit)), strict=True)
        if moved[i, j] <= limit[i, j]
    }


def _to_nearest_other(points: np.ndarray) -> np.ndarray:
    """Return the distance from each point, shape (points, axes), to the nearest other one."""
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    return distances.min(axis=1)


def _numbered(space: Space, centers: np.ndarray, previous: Segmenter | None) -> Segmenter:
    """Number segments as they were before, and new ones beyond all numbers ever given."""
    highest, matched = 0, {}
    if previous is not None:
        highest = previous.highest_number
        new_centroids = pd.DataFrame(centers, columns=space.axes)
        matched = match_segments(space.place(previous.centroids), new_centroids)
    numbers = []
    for i in range(len(centers)):
        if i not in matched:
            highest += 1
        numbers.append(matched.get(i, highest))
    order = np.argsort(numbers)
    return Segmenter(space, centers[order], np.array(numbers)[order], highest)


def _fit_k_means(
    coordinates: np.ndarray, n_segments: int, sample: np.ndarray, seed: int
) -> tuple[ClusterTrial, np.ndarray]:
    """Fit one number of segments; return its trial and its centres, shape (segments, axes)."""
    began = time.perf_counter()
    model = KMeans(n_segments, n_init=N_STARTS, random_state=seed).fit(coordinates)
    seconds = time.perf_counter() - began
    sampled = model.labels_[sample]
    # A sample that lies in one segment says that the others are hardly any.
    is_split = len(np.unique(sampled)) > 1
    trial = ClusterTrial(
        n_segments=n_segments,
        silhouette=float(silhouette_score(coordinates[sample], sampled)) if is_split else -1.0,
        davies_bouldin=float(davies_bouldin_score(coordinates, model.labels_)),
        inertia=float(model.inertia_),
        fit_seconds=seconds,
    )
    return trial, model.cluster_centers_


def _describe(
    X: pd.DataFrame, estimator: Segmenter, coordinates: np.ndarray, assigned: np.ndarray
) -> tuple[tuple[Segment, ...], tuple[SegmentFeature, ...]]:
    """Describe the segments by the rows that are in them."""
    axes = estimator.space.axes
    columns = [X[a.feature] if a.level is None else X[a.feature] == a.level for a in axes]
    in_units = pd.concat(columns, axis=1).astype(np.float64)
    overall_means = in_units.mean().to_numpy()
    spreads = coordinates.std(axis=0)
    spreads[spreads == 0] = 1.0
    z_scores, features, sizes = [], [], []
    for number in estimator.numbers:
        is_member = assigned == number
        sizes.append(int(is_member.sum()))
        means = in_units[is_member].mean().to_numpy()
        z = (coordinates[is_member].mean(axis=0) - coordinates.mean(axis=0)) / spreads
        z_scores.append(z)
        features += [
            SegmentFeature(
                segment=int(number),
                feature=axis.feature,
                level=axis.level,
                mean=None if np.isnan(mean) else float(mean),
                overall_mean=float(overall_mean),
                z_score=float(distance),
            )
            for axis, mean, overall_mean, distance in zip(
                axes, means, overall_means, z, strict=True
            )
        ]
    names = segment_names(axes, np.array(z_scores), estimator.numbers.tolist())
    segments = tuple(
        Segment(number, name, size)
        for number, name, size in zip(estimator.numbers.tolist(), names, sizes, strict=True)
    )
    return segments, tuple(features)


def segment_names(axes: Sequence[Axis], z_scores: np.ndarray, numbers: Sequence[int]) -> list[str]:
    """Name segments after what sets them apart, such as `high money, low recency`.

    Two features make a name, and as many more as it takes to tell segments apart; where these do
    not suffice, the segment's number is added.

    Args:
        axes: What the features are.
        z_scores: Of the mean of each segment, shape (segments, axes).
        numbers: The segments' numbers.
    """
    words = [
        [
            _word(axes[i], z[i])
            for i in np.argsort(-np.abs(z), kind="stable")
            if abs(z[i]) >= MIN_DISTINCTION
        ]
        for z in z_scores
    ]
    n_words = [2] * len(words)
    while True:
        names = [", ".join(w[:n]) or "average" for w, n in zip(words, n_words, strict=True)]
        counts = Counter(names)
        shared = [i for i, name in enumerate(names) if counts[name] > 1]
        longer = [i for i in shared if n_words[i] < len(words[i])]
        if not longer:
            break
        for i in longer:
            n_words[i] += 1
    for i in shared:
        names[i] += f" ({numbers[i]})"
    return names


def _word(axis: Axis, z_score: float) -> str:
    feature = axis.feature.replace("_", " ")
    if axis.level is None:
        return f"{'high' if z_score > 0 else 'low'} {feature}"
    return f"{'often' if z_score > 0 else 'seldom'} {feature} {axis.level}"


def _on_scale(values: np.ndarray, is_log: np.ndarray) -> np.ndarray:
    """Return numbers, shape (rows, numbers), with log(1 + x) taken where the scale is so."""
    return np.where(is_log, np.log1p(np.where(is_log, values, 0.0)), values)
