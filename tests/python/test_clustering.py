"""Clustering: how many segments, what they are called, and that they keep their numbers."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from conftest import real_data
from sklearn.metrics import davies_bouldin_score, silhouette_score

from python_scoring.clustering import (
    Axis,
    FittedClusters,
    Segmenter,
    Space,
    fit_clusters,
    match_segments,
    segment_names,
)
from python_scoring.errors import NotEnoughData
from python_scoring.fitting import predict

# Recency in days, orders, money, and the share of rows that came through an ad.
PERSONAS = {
    "loyal": (5, 20, 900, 0.1),
    "lapsed": (200, 8, 300, 0.1),
    "new": (10, 1, 20, 0.9),
}


def customers(
    sizes: dict[str, int], seed: int = 1, personas: dict[str, tuple] = PERSONAS
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows around the personas in no order, and the persona of each."""
    rng = np.random.default_rng(seed)
    parts = []
    for persona, n in sizes.items():
        recency, orders, money, ad_share = personas[persona]
        parts.append(
            pd.DataFrame(
                {
                    "recency": recency + rng.normal(scale=3, size=n),
                    "n_orders": rng.poisson(orders, n).astype(float),
                    "money": money * rng.lognormal(sigma=0.3, size=n),
                    "source": np.where(rng.random(n) < ad_share, "ad", "web").astype(object),
                    "persona": persona,
                }
            )
        )
    frame = pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)
    frame.loc[rng.random(len(frame)) < 0.05, "n_orders"] = np.nan
    frame["source"] = frame["source"].astype(object).where(rng.random(len(frame)) > 0.05)
    return frame.drop(columns="persona"), frame["persona"].to_numpy()


def times(n: int) -> pd.Series:
    return pd.Series(pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC"))


def cluster(matrix: pd.DataFrame, previous: Segmenter | None = None, **options) -> FittedClusters:
    options = {"seed": 7, "n_jobs": 1, **options}
    return fit_clusters(matrix, times(len(matrix)), previous=previous, **options)


def number_of(fitted: FittedClusters, persona: np.ndarray) -> dict[str, int]:
    """The number that most rows of each persona have."""
    assigned = pd.Series(fitted.assigned)
    return {name: int(assigned[persona == name].mode()[0]) for name in np.unique(persona)}


SIZES = {"loyal": 200, "lapsed": 500, "new": 300}


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    return customers(SIZES)


@pytest.fixture(scope="module")
def fitted(rows) -> FittedClusters:
    return cluster(rows[0])


def test_the_personas_are_found_and_numbered_by_size(rows, fitted):
    _, persona = rows
    assert fitted.parameters == {"n_segments": 3}
    assert number_of(fitted, persona) == {"lapsed": 1, "new": 2, "loyal": 3}
    agreement = pd.Series(persona).map(number_of(fitted, persona)).to_numpy() == fitted.assigned
    assert agreement.mean() > 0.98
    assert (fitted.n_trained, fitted.vanished) == (1_000, ())
    assert (fitted.trained_from, fitted.trained_through) == (
        times(1).iloc[0],
        times(1_000).iloc[-1],
    )


def test_every_number_of_segments_is_tried_and_the_best_silhouette_wins(rows, fitted):
    assert [trial.n_segments for trial in fitted.trials] == [2, 3, 4, 5, 6, 7, 8]
    best = max(fitted.trials, key=lambda trial: trial.silhouette)
    assert fitted.parameters["n_segments"] == best.n_segments
    inertias = [trial.inertia for trial in fitted.trials]
    assert inertias == sorted(inertias, reverse=True)
    assert all(trial.fit_seconds > 0 for trial in fitted.trials)
    coordinates = fitted.estimator.space.coordinates(rows[0])
    assert fitted.metrics == pytest.approx(
        {
            "silhouette": silhouette_score(coordinates, fitted.assigned),
            "davies_bouldin": davies_bouldin_score(coordinates, fitted.assigned),
            "inertia": sum(
                ((coordinates[fitted.assigned == n] - center) ** 2).sum()
                for n, center in zip(
                    fitted.estimator.numbers, fitted.estimator.centers, strict=True
                )
            ),
        }
    )


def test_silhouettes_are_of_a_sample_whose_size_is_told():
    matrix, _ = customers({"loyal": 1_500, "lapsed": 1_000, "new": 1_000})
    fitted = cluster(matrix)
    assert fitted.n_silhouette_rows == 3_000
    assert cluster(matrix.head(90)).n_silhouette_rows == 90
    coordinates = fitted.estimator.space.coordinates(matrix)
    full = silhouette_score(coordinates, fitted.assigned)
    assert fitted.metrics["silhouette"] == pytest.approx(full, abs=0.02)


def test_without_time_the_first_number_is_tried_and_the_rest_is_counted(rows):
    hurried = cluster(rows[0], budget_seconds=0)
    assert [trial.n_segments for trial in hurried.trials] == [2]
    assert hurried.n_trials_left_out == 6


def test_segments_are_described_in_the_features_own_units(rows, fitted):
    matrix, _ = rows
    assert [s.size for s in fitted.segments] == np.bincount(fitted.assigned)[1:].tolist()
    described = {(f.segment, f.feature, f.level): f for f in fitted.features}
    assert len(described) == 3 * 5  # three numbers and two levels
    for segment in (1, 2, 3):
        members = matrix[fitted.assigned == segment]
        money = described[segment, "money", None]
        assert money.mean == pytest.approx(members["money"].mean())
        assert money.overall_mean == pytest.approx(matrix["money"].mean())
        ad = described[segment, "source", "ad"]
        assert ad.mean == pytest.approx((members["source"] == "ad").mean())
        assert np.sign(ad.z_score) == np.sign(ad.mean - ad.overall_mean)
    orders = matrix["n_orders"].where(fitted.assigned == 3).mean()
    assert described[3, "n_orders", None].mean == pytest.approx(orders)


def test_segments_are_named_after_what_sets_them_apart(fitted):
    names = {segment.segment: segment.name for segment in fitted.segments}
    assert "high recency" in names[1]
    assert {"often source ad", "low money", "low n orders"} & set(names[2].split(", "))
    assert {"high n orders", "high money"} & set(names[3].split(", "))


AXES = [Axis("money", None), Axis("n_orders", None), Axis("recency", None), Axis("source", "ad")]


@pytest.mark.parametrize(
    ("z_scores", "names"),
    [
        (
            [[2.0, 0.1, -1.0, 0.0], [-1.0, 0.0, 0.6, 3.0]],
            ["high money, low recency", "often source ad, low money"],
        ),
        (
            [[0.1, 0.2, 0.0, 0.3], [0.0, 0.0, 0.0, -0.7]],
            ["average", "seldom source ad"],
        ),
        (
            [[2.0, 1.5, 0.6, 0.0], [3.0, 1.5, -0.6, 0.0], [-2.0, 0.0, 0.0, 0.0]],
            [
                "high money, high n orders, high recency",
                "high money, high n orders, low recency",
                "low money",
            ],
        ),
        (
            [[2.0, 1.5, 0.0, 0.0], [3.0, 1.6, 0.0, 0.0]],
            ["high money, high n orders (4)", "high money, high n orders (9)"],
        ),
        (
            [[2.0, 1.5, 0.0, 0.0], [3.0, 1.6, 0.7, 0.0]],
            ["high money, high n orders", "high money, high n orders, high recency"],
        ),
    ],
    ids=["two features", "few stand out", "a third tells apart", "nothing does", "one has more"],
)
def test_names_are_unique_and_short(z_scores, names):
    assert segment_names(AXES, np.array(z_scores), [4, 9, 11][: len(z_scores)]) == names


def test_a_seed_gives_the_same_segments_on_any_number_of_cores(rows, fitted):
    other = cluster(rows[0], n_jobs=2)
    np.testing.assert_array_equal(other.assigned, fitted.assigned)
    np.testing.assert_array_equal(other.estimator.centers, fitted.estimator.centers)
    assert other.segments == fitted.segments
    assert other.features == fitted.features


def test_segments_are_plain_json(fitted):
    described = [asdict(row) for row in (*fitted.trials, *fitted.segments, *fitted.features)]
    json.dumps([described, fitted.parameters, fitted.metrics, fitted.vanished], allow_nan=False)


# Numbers across retrainings


def test_numbers_stay_when_the_sizes_turn_around(rows, fitted):
    before = number_of(fitted, rows[1])
    matrix, persona = customers({"loyal": 600, "lapsed": 150, "new": 400}, seed=2)
    again = cluster(matrix, fitted.estimator)
    assert number_of(again, persona) == before
    assert [segment.segment for segment in again.segments] == [1, 2, 3]
    assert again.vanished == ()


def test_a_new_segment_gets_a_new_number_and_a_vanished_ones_is_not_given_again():
    def numbers_only(*arguments) -> tuple[pd.DataFrame, np.ndarray]:
        matrix, persona = customers(*arguments)
        return matrix.drop(columns="source"), persona

    matrix, persona = numbers_only(SIZES)
    first = cluster(matrix)
    before = number_of(first, persona)
    assert before["loyal"] == 3
    matrix, persona = numbers_only({"lapsed": 400, "new": 400}, 3)
    second = cluster(matrix, first.estimator)
    assert number_of(second, persona) == {name: before[name] for name in ("lapsed", "new")}
    assert second.vanished == (3,)

    personas = {**PERSONAS, "whale": (100, 60, 9_000, 0.5)}
    matrix, persona = numbers_only({"lapsed": 300, "new": 300, "whale": 300}, 4, personas)
    third = cluster(matrix, second.estimator)
    assert number_of(third, persona) == {
        "lapsed": before["lapsed"],
        "new": before["new"],
        "whale": 4,
    }
    assert third.vanished == ()


def test_features_that_only_one_version_knows_are_no_obstacle(rows, fitted):
    before = number_of(fitted, rows[1])
    matrix, persona = customers({"loyal": 300, "lapsed": 300, "new": 300}, seed=2)
    other = matrix.drop(columns=["n_orders"])
    other["age"] = np.random.default_rng(0).normal(40, 5, 900)
    other["source"] = other["source"].replace({"web": "shop"})
    assert number_of(cluster(other[other.columns[::-1]], fitted.estimator), persona) == before


def test_without_a_feature_in_common_all_numbers_are_new(rows, fitted):
    matrix = rows[0][["recency", "money"]].rename(columns={"recency": "a", "money": "b"})
    again = cluster(matrix, fitted.estimator)
    assert again.segments[0].segment == 4
    assert again.vanished == (1, 2, 3)


def test_matching_takes_the_least_distance_in_sum():
    old = pd.DataFrame({"x": [0.0, 1.0, 10.0], "gone": [1.0, 2.0, 3.0]}, index=[5, 6, 8])
    new = pd.DataFrame({"added": [0.0] * 3, "x": [9.0, 0.6, 1.5]}, index=["a", "b", "c"])
    # The new 0.6 is nearest to the old 1.0, but then the new 1.5 would be left with the old 0.0.
    assert match_segments(old, new) == {"a": 8, "b": 5, "c": 6}


@pytest.mark.parametrize(
    ("old", "new", "matched"),
    [
        ([0.0, 1.0, 2.0], [2.1, 0.2, 1.1], {0: 3, 1: 1, 2: 2}),
        ([0.0, 1.0, 2.0], [0.0, 2.0, 30.0, 31.0], {0: 1, 1: 3}),
        ([0.0, 10.0], [0.1, 9.0, 9.5], {0: 1, 2: 2}),
        ([0.0, 9.0, 9.5], [0.1, 9.4], {0: 1, 1: 3}),
    ],
    ids=["moved a little", "vanished and others came", "split", "merged"],
)
def test_a_segment_is_continued_by_the_nearest_unless_that_is_too_far(old, new, matched):
    old = pd.DataFrame({"x": old}, index=range(1, len(old) + 1))
    assert match_segments(old, pd.DataFrame({"x": new})) == matched


# The space


def test_coordinates_are_standardised_and_outliers_are_held():
    matrix, _ = customers({"loyal": 500, "lapsed": 500, "new": 500})
    coordinates = Space.learn(matrix).coordinates(matrix)
    np.testing.assert_allclose(coordinates[:, :3].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(coordinates[:, :3].std(axis=0), 1)
    wild = matrix.copy()
    wild.loc[3, ["recency", "money"]] = 3e38
    spoilt = np.delete(Space.learn(wild).coordinates(wild), 3, axis=0)
    np.testing.assert_allclose(spoilt, np.delete(coordinates, 3, axis=0), atol=0.1)


def test_skewed_amounts_are_on_a_logarithmic_scale_and_others_are_not():
    rng = np.random.default_rng(0)
    amounts = rng.lognormal(sigma=1.5, size=1_000)
    matrix = pd.DataFrame({"amount": amounts, "debt": -amounts, "even": rng.normal(9, 1, 1_000)})
    space = Space.learn(matrix)
    assert space.is_log.tolist() == [True, False, False]
    centers = space.coordinates(matrix)[:5]
    pd.testing.assert_frame_equal(
        space.in_units(centers).set_axis(matrix.columns, axis=1),
        matrix.head(5).clip(space.lows, space.highs, axis=1),
    )


def test_a_rare_an_unseen_and_a_missing_text_are_at_no_level():
    matrix = pd.DataFrame({"town": pd.Series(["a"] * 500 + ["b"] * 499 + ["rare"], dtype=object)})
    space = Space.learn(matrix)
    assert space.axes == [Axis("town", "a"), Axis("town", "b")]
    strange = pd.DataFrame({"town": pd.Series(["rare", "unseen", np.nan, "b"], dtype=object)})
    assert space.coordinates(strange).tolist() == [[0, 0], [0, 0], [0, 0], [0, 1]]


@pytest.mark.filterwarnings("error")
def test_any_row_gets_the_number_of_a_segment(rows, fitted):
    strange = rows[0].head(4).copy()
    strange["source"] = pd.Series(["unseen", np.nan, "web", "ad"], dtype=object)
    strange.loc[2, ["recency", "n_orders", "money"]] = np.nan
    strange.loc[3, ["recency", "n_orders", "money"]] = [3e38, -3e38, -1.0]
    predictions = predict(fitted.estimator, strange)
    assert np.issubdtype(predictions.dtype, np.integer)
    assert set(predictions) <= {1, 2, 3}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("columns", [["source"], ["money"], ["source", "empty"], ["flag", "money"]])
def test_a_matrix_of_one_kind_of_column_is_enough(rows, columns):
    matrix = rows[0].assign(empty=np.nan, flag=(rows[0]["recency"] > 100).astype(float))[columns]
    fitted = cluster(matrix)
    np.testing.assert_array_equal(predict(fitted.estimator, matrix), fitted.assigned)


# What is refused


def test_no_rows_no_features_and_rows_too_much_alike_are_refused(rows):
    matrix, _ = rows
    with pytest.raises(NotEnoughData, match="no rows"):
        cluster(matrix.head(0))
    with pytest.raises(NotEnoughData, match="no features"):
        cluster(matrix[[]])
    alike = pd.DataFrame({"flag": [0.0, 1.0] * 50})
    with pytest.raises(NotEnoughData, match=r"100 rows .* too much alike: 2 of them differ"):
        cluster(alike)
    assert cluster(pd.DataFrame({"n": [0.0, 1.0, 9.0] * 9})).parameters == {"n_segments": 2}


# Real data


def test_cdnow_customers_keep_their_segments_from_one_quarter_to_the_next():
    orders = pd.read_csv(real_data("cdnow_transactions.csv.gz"), parse_dates=["date"])

    def features(at: str) -> pd.DataFrame:
        known = orders[orders["date"] <= at]
        grouped = known.groupby("customer_id")
        return pd.DataFrame(
            {
                "recency": (pd.Timestamp(at) - grouped["date"].max()).dt.days.astype(float),
                "n_orders": grouped.size().astype(float),
                "money": grouped["price"].sum(),
            }
        )

    first = cluster(features("1998-03-31"))
    second = cluster(features("1998-06-30"), first.estimator)
    assert first.parameters == second.parameters
    assert second.vanished == ()
    stayed = (first.assigned == second.assigned).mean()
    assert stayed > 0.8
    assert len({segment.name for segment in second.segments}) == len(second.segments)
