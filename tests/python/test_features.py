"""Feature specs: what is learned from training rows, and the matrix they make of any batch."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from python_scoring.errors import LeadlightError
from python_scoring.features import FeatureSpec

NAN = np.nan


def objects(*values: object) -> pd.Series:
    return pd.Series(values, dtype=object)


def kinds(spec: FeatureSpec) -> dict[str, str]:
    return {feature.name: feature.kind for feature in spec.features}


def of_json(*documents: object) -> pd.DataFrame:
    return pd.DataFrame({"attributes": [json.dumps(document) for document in documents]})


def test_numbers_and_booleans_are_numeric_and_text_is_categorical():
    batch = pa.record_batch(
        {
            "n_visits": pa.array([1, 2, None]),
            "mean_amount": pa.array([1.5, None, 2.5]),
            "total": pa.array([Decimal("1.25"), None, Decimal("3.00")]),
            "is_new": pa.array([True, False, None]),
            "has_paid": pa.array([True, False, True]),
            "source": pa.array(["ad", None, "mail"]),
        }
    )
    frame = batch.to_pandas()
    spec = FeatureSpec.learn(frame)
    assert kinds(spec) == {
        "n_visits": "numeric",
        "mean_amount": "numeric",
        "total": "numeric",
        "is_new": "numeric",
        "has_paid": "numeric",
        "source": "categorical",
    }
    assert spec.dropped == {}
    expected = pd.DataFrame(
        {
            "n_visits": [1.0, 2.0, NAN],
            "mean_amount": [1.5, NAN, 2.5],
            "total": [1.25, NAN, 3.0],
            "is_new": [1.0, 0.0, NAN],
            "has_paid": [1.0, 0.0, 1.0],
            "source": objects("ad", NAN, "mail"),
        }
    )
    pd.testing.assert_frame_equal(spec.matrix(frame), expected)


@pytest.mark.parametrize(
    "values",
    [
        [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)],
        [date(2024, 1, 1), date(2024, 1, 2)],
        [[1, 2], [3]],
        [b"a", b"b"],
        [1, "a"],
    ],
    ids=["timestamp", "date", "array", "bytes", "mixed"],
)
def test_a_column_of_another_type_is_refused_by_name(values):
    frame = pd.DataFrame({"n": [1, 2], "seen_in": pd.Series(values)})
    with pytest.raises(LeadlightError, match="feature column seen_in holds"):
        FeatureSpec.learn(frame)


def test_an_empty_column_of_timestamps_is_refused_too():
    # Whether a feature model is sound must not depend on the rows that happen to be there.
    frame = pd.DataFrame({"seen_at": pd.Series([None, None], dtype="datetime64[us, UTC]")})
    with pytest.raises(LeadlightError, match="seen_at"):
        FeatureSpec.learn(frame)


def test_json_keys_become_features_by_what_they_hold():
    frame = of_json(
        {"n": 1, "flag": True, "colour": "red", "mixed": 1, "deep": {"a": 1}, "sparse": 5},
        {"n": 2.5, "flag": False, "colour": "blue", "mixed": "1a", "deep": [1], "void": None},
        {"n": None, "flag": True, "colour": "red", "mixed": True, "unnamed": {}},
    )
    spec = FeatureSpec.learn(frame, ["attributes"])
    assert kinds(spec) == {
        "attributes.colour": "categorical",
        "attributes.flag": "numeric",
        "attributes.mixed": "categorical",
        "attributes.n": "numeric",
        "attributes.sparse": "numeric",
    }
    assert set(spec.dropped) == {"attributes.deep", "attributes.unnamed", "attributes.void"}
    assert spec.json_columns == ("attributes",)
    expected = pd.DataFrame(
        {
            "attributes.colour": objects("red", "blue", "red"),
            "attributes.flag": [1.0, 0.0, 1.0],
            "attributes.mixed": objects("1", "1a", "true"),
            "attributes.n": [1.0, 2.5, NAN],
            "attributes.sparse": [5.0, NAN, NAN],
        }
    )
    pd.testing.assert_frame_equal(spec.matrix(frame), expected)


def test_rows_without_a_json_object_have_no_keys():
    frame = of_json({"n": 1}, {"n": 2}, None, [1], 7)
    frame.loc[len(frame)] = None
    spec = FeatureSpec.learn(frame, ["attributes"])
    assert spec.matrix(frame)["attributes.n"].tolist()[:2] == [1.0, 2.0]
    assert spec.matrix(frame)["attributes.n"].isna().sum() == 4


def test_a_key_that_changes_its_type_after_training_is_missing_or_text():
    spec = FeatureSpec.learn(
        of_json({"n": 1, "colour": "red"}, {"n": 2, "colour": "blue"}), ["attributes"]
    )
    matrix = spec.matrix(
        of_json({"n": "3", "colour": 7}, {"n": [1], "colour": ["red"]}, {"n": 4, "colour": False})
    )
    expected = pd.DataFrame(
        {"attributes.colour": objects("7", NAN, "false"), "attributes.n": [NAN, NAN, 4.0]}
    )
    pd.testing.assert_frame_equal(matrix, expected)


@pytest.mark.parametrize("text", ["{not json", "", "[" * 100_000], ids=["broken", "void", "deep"])
def test_broken_json_is_refused_by_column_and_row(text):
    frame = pd.DataFrame({"attributes": ['{"n": 1}', '{"n": 2}', text]})
    with pytest.raises(LeadlightError, match=r"column attributes .* row 3"):
        FeatureSpec.learn(frame, ["attributes"])


def test_a_timestamp_column_is_no_json():
    frame = pd.DataFrame({"attributes": pd.to_datetime(["2024-01-01"], utc=True)})
    with pytest.raises(LeadlightError, match="column attributes"):
        FeatureSpec.learn(frame, ["attributes"])


def test_keys_that_are_ids_make_no_features():
    documents = [{f"product_{i}": 1, "n": i} for i in range(5_000)]
    spec = FeatureSpec.learn(of_json(*documents), ["attributes"])
    assert kinds(spec) == {"attributes.n": "numeric"}
    assert spec.dropped == {"attributes.*": "5000 rare keys, each in fewer than 0.1% of rows"}


@pytest.mark.parametrize(
    ("n_distinct", "n_rows", "is_kept"),
    [(50, 50, True), (51, 1_019, False), (51, 1_020, True), (200, 3_999, False)],
    ids=["few", "over five percent", "five percent", "many"],
)
def test_text_with_too_many_distinct_values_is_dropped_and_the_spec_says_so(
    n_distinct, n_rows, is_kept
):
    emails = [f"person{i % n_distinct}@example.org" for i in range(n_rows)]
    frame = of_json(*({"email": email} for email in emails))
    frame["email"] = emails
    spec = FeatureSpec.learn(frame, ["attributes"])
    if is_kept:
        assert kinds(spec) == {"attributes.email": "categorical", "email": "categorical"}
    else:
        reason = f"{n_distinct} distinct values in {n_rows} rows"
        assert spec.dropped == {"attributes.email": reason, "email": reason}
        assert spec.features == ()


def test_numbers_may_have_any_number_of_distinct_values():
    assert FeatureSpec.learn(pd.DataFrame({"n": np.arange(500.0)})).dropped == {}


def test_empty_and_constant_columns_are_dropped_unless_missing_tells_something():
    frame = pd.DataFrame(
        {
            "no_number": [NAN, NAN, NAN],
            "no_text": objects(None, None, None),
            "infinite": [np.inf, -np.inf, NAN],
            "same_number": [7, 7, 7],
            "same_text": ["a", "a", "a"],
            "once_number": [7, None, None],
            "once_text": objects("a", None, None),
        }
    )
    spec = FeatureSpec.learn(frame)
    assert kinds(spec) == {"once_number": "numeric", "once_text": "categorical"}
    assert spec.dropped == {
        "no_number": "empty",
        "no_text": "empty",
        "infinite": "empty",
        "same_number": "constant",
        "same_text": "constant",
    }


def test_no_rows_make_no_features():
    frame = pd.DataFrame({"n": pd.Series([], dtype=float), "t": pd.Series([], dtype=object)})
    spec = FeatureSpec.learn(frame)
    assert spec.features == ()
    assert set(spec.dropped) == {"n", "t"}


def test_infinite_and_absurdly_large_numbers_are_missing():
    frame = of_json({"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}, {"n": 5})
    frame.loc[1, "attributes"] = '{"n": 1e999}'
    frame.loc[2, "attributes"] = '{"n": %s}' % ("9" * 5_000)
    frame["amount"] = [1.0, np.inf, -np.inf, 1e300, -3e38]
    frame["total"] = objects(*map(Decimal, ["1", "Infinity", "NaN", "1e999", "2"]))
    matrix = FeatureSpec.learn(frame, ["attributes"]).matrix(frame)
    assert matrix["attributes.n"].isna().tolist() == [False, True, True, False, False]
    assert matrix["amount"].isna().tolist() == [False, True, True, True, False]
    assert matrix["total"].isna().tolist() == [False, True, True, True, False]


@pytest.fixture(scope="module")
def training_frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 400
    frame = pd.DataFrame({"n": rng.normal(size=n), "is_new": rng.random(n) < 0.5})
    frame["source"] = objects(*rng.choice(["ad", "mail", None], n))
    frame["attributes"] = [
        json.dumps({"age": int(age), "town": town} if age > 30 else {"town": town})
        for age, town in zip(rng.integers(18, 80, n), rng.choice(["A", "B", "C"], n), strict=True)
    ]
    return frame


@pytest.fixture(scope="module")
def spec(training_frame: pd.DataFrame) -> FeatureSpec:
    return FeatureSpec.learn(training_frame, ["attributes"])


def test_the_matrix_of_batches_is_the_matrix_of_the_whole(spec, training_frame):
    batches = [training_frame.iloc[i : i + 37] for i in range(0, len(training_frame), 37)]
    pd.testing.assert_frame_equal(
        pd.concat([spec.matrix(batch) for batch in batches]), spec.matrix(training_frame)
    )


def test_the_order_of_columns_and_unseen_columns_change_nothing(spec, training_frame):
    shuffled = training_frame[training_frame.columns[::-1]].assign(
        seen_at=pd.Timestamp("2024-01-01", tz="UTC"), extra=1
    )
    pd.testing.assert_frame_equal(spec.matrix(shuffled), spec.matrix(training_frame))


@pytest.mark.parametrize("missing", ["n", "source", "attributes"])
def test_a_column_that_is_not_there_is_missing(spec, training_frame, missing):
    matrix = spec.matrix(training_frame.drop(columns=missing))
    whole = spec.matrix(training_frame)
    gone = [name for name in whole.columns if name.split(".")[0] == missing]
    assert matrix[gone].isna().all(axis=None)
    pd.testing.assert_frame_equal(matrix.drop(columns=gone), whole.drop(columns=gone))
    pd.testing.assert_series_equal(matrix.dtypes, whole.dtypes)


@pytest.mark.parametrize("empty", ["n", "is_new", "source", "attributes"])
@pytest.mark.parametrize("dtype", [object, "float64", "str"])
def test_a_batch_may_hold_a_column_of_nulls_of_any_type(spec, training_frame, empty, dtype):
    nulls = pd.Series([None] * len(training_frame), dtype=dtype)
    pd.testing.assert_frame_equal(
        spec.matrix(training_frame.assign(**{empty: nulls})),
        spec.matrix(training_frame.drop(columns=empty)),
    )


def test_a_batch_without_rows_has_the_same_columns(spec, training_frame):
    matrix = spec.matrix(training_frame.head(0))
    assert matrix.shape == (0, len(spec.features))
    pd.testing.assert_series_equal(matrix.dtypes, spec.matrix(training_frame).dtypes)


@pytest.mark.parametrize(("column", "values"), [("n", "x"), ("source", 1.5), ("is_new", "true")])
def test_a_column_that_changed_its_kind_is_refused_by_name(spec, training_frame, column, values):
    with pytest.raises(LeadlightError, match=rf"feature column {column} was .* train the task"):
        spec.matrix(training_frame.assign(**{column: values}))


def test_two_features_of_one_name_are_refused():
    frame = of_json({"n": 1}, {"n": 2}).assign(**{"attributes.n": [3, 4]})
    with pytest.raises(LeadlightError, match=r"two features are called attributes\.n"):
        FeatureSpec.learn(frame, ["attributes"])


def test_a_spec_survives_json_that_sorts_its_keys(spec, training_frame):
    restored = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json(), sort_keys=True)))
    assert restored == spec
    pd.testing.assert_frame_equal(restored.matrix(training_frame), spec.matrix(training_frame))


def test_the_spec_does_not_depend_on_the_order_of_rows_or_keys():
    frame = of_json({"b": 1, "a": 2}, {"a": 3, "b": 4})
    one, other = (FeatureSpec.learn(f, ["attributes"]) for f in (frame, frame.iloc[::-1]))
    assert one == other
