"""Artifacts: what is stored predicts the very same numbers, and nothing else is loaded."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.model_selection import ParameterGrid
from sklearn.preprocessing import FunctionTransformer

from python_scoring.artifacts import ALLOWED_TYPES, dump, load
from python_scoring.candidates import CANDIDATES, fit_pipeline
from python_scoring.clustering import fit_clusters
from python_scoring.errors import LeadlightError
from python_scoring.features import FeatureSpec
from python_scoring.fitting import RESPONSES, Estimator, Predictor, one_thread_a_fit, predict

TESTS_DIR = Path(__file__).resolve().parent
PROJECT_DIR = TESTS_DIR.parents[1]


def training_frame() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(5)
    n = 600
    frame = pd.DataFrame({"n": rng.normal(size=n), "m": rng.lognormal(size=n)})
    frame["source"] = pd.Series(rng.choice(["ad", "mail", "wéb", None], n), dtype=object)
    frame["town"] = pd.Series([f"town {i}" for i in rng.integers(0, 45, n)], dtype=object)
    frame.loc[rng.random(n) < 0.2, "m"] = np.nan
    labels = (frame["n"] + (frame["source"] == "ad") + rng.normal(size=n) > 0.5).astype(int)
    return frame, labels.to_numpy()


def strange_frame() -> pd.DataFrame:
    """Rows with unseen categories, missing values, and a column that is not there."""
    frame, _ = training_frame()
    frame = frame.drop(columns="m")
    frame.loc[::2, "source"] = "unseen"
    frame.loc[::3, "town"] = None
    frame.loc[::5, "n"] = np.nan
    return frame


SPEC = FeatureSpec.learn(training_frame()[0])
MATRICES = {
    "known": SPEC.matrix(training_frame()[0]),
    "strange": SPEC.matrix(strange_frame()),
}
# Each algorithm, and each way to treat a rare class.
POINTS = {
    f"{kind}-{algorithm}-{point.get('imbalance')}": (kind, algorithm, point)
    for kind, tried in CANDIDATES.items()
    for algorithm, candidate in tried.items()
    for point in ParameterGrid(candidate.grid)
}
NAMES = ["clustering", *POINTS]

each_estimator = pytest.mark.parametrize("name", NAMES)


@functools.cache
def fitted(name: str) -> Estimator:
    _, labels = training_frame()
    matrix = MATRICES["known"]
    if name == "clustering":
        as_of_at = pd.Series(pd.date_range("2024-01-01", periods=len(matrix), tz="UTC"))
        return fit_clusters(matrix, as_of_at, seed=7, n_jobs=1).estimator
    kind, algorithm, parameters = POINTS[name]
    with one_thread_a_fit(1):
        pipeline = fit_pipeline(CANDIDATES[kind][algorithm], parameters, matrix, labels, 7)
    response = RESPONSES[kind].learn(RESPONSES[kind].read(pipeline, matrix), labels)
    return Predictor(pipeline, response)


@pytest.fixture(scope="module")
def artifact() -> tuple[bytes, str]:
    """Any will do for what concerns the bytes alone."""
    return dump(fitted("binary-logistic_regression-none"))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@each_estimator
def test_a_loaded_model_predicts_the_very_same_numbers(name):
    loaded = load(*dump(fitted(name)))
    for matrix in MATRICES.values():
        np.testing.assert_array_equal(predict(loaded, matrix), predict(fitted(name), matrix))


def test_a_fresh_process_predicts_the_very_same_numbers(tmp_path):
    names = ["clustering", "binary-gradient_boosting-none", "regression-random_forest-None"]
    digests = {}
    for name in names:
        data, digests[name] = dump(fitted(name))
        (tmp_path / name).write_bytes(data)
    script = f"""
import json
from pathlib import Path
import numpy as np
from python_scoring.artifacts import load
from python_scoring.features import FeatureSpec
from python_scoring.fitting import predict
from test_artifacts import strange_frame, training_frame

spec = FeatureSpec.from_json(json.loads({json.dumps(SPEC.to_json())!r}))
for name, sha256 in {digests!r}.items():
    estimator = load(Path(name).read_bytes(), sha256)
    for rows, frame in (("known", training_frame()[0]), ("strange", strange_frame())):
        np.save(f"{{name}}-{{rows}}", predict(estimator, spec.matrix(frame)))
"""
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT_DIR), str(TESTS_DIR)])},
        check=True,
    )
    for name in names:
        for rows, matrix in MATRICES.items():
            np.testing.assert_array_equal(
                np.load(tmp_path / f"{name}-{rows}.npy"), predict(fitted(name), matrix)
            )


def test_the_digest_is_that_of_the_bytes(artifact):
    data, sha256 = artifact
    assert sha256 == digest(data)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_tampered_byte_is_refused(artifact, share):
    data, sha256 = artifact
    tampered = bytearray(data)
    tampered[int(share * (len(data) - 1))] ^= 1
    with pytest.raises(LeadlightError, match="changed after it was stored"):
        load(bytes(tampered), sha256)


def test_another_models_digest_is_refused(artifact):
    data, _ = artifact
    with pytest.raises(LeadlightError, match="changed after it was stored"):
        load(data, digest(b"another"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_bytes_are_refused_even_with_their_own_digest(artifact, share):
    data, sha256 = artifact
    truncated = data[: int(share * len(data))]
    with pytest.raises(LeadlightError, match="changed after it was stored"):
        load(truncated, sha256)
    with pytest.raises(LeadlightError, match="cannot be read"):
        load(truncated, digest(truncated))


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        (Fraction(1, 3), "fractions.Fraction"),
        ({"model": [Fraction(1, 3)]}, "fractions.Fraction"),
        (functools.partial(os.system, "true"), f"{os.name}.system"),
        (FunctionTransformer(os.getcwd), f"{os.name}.getcwd"),
    ],
    ids=["object", "nested", "partial of a foreign function", "function in an estimator"],
)
def test_a_type_that_is_not_on_the_list_is_neither_loaded_nor_stored(foreign, name):
    data = skops.io.dumps(foreign)
    with pytest.raises(LeadlightError, match=name):
        load(data, digest(data))
    with pytest.raises(LeadlightError, match=name):
        dump(foreign)


def test_the_list_holds_just_what_the_estimators_need():
    needed: set[str] = set()
    for name in NAMES:
        data, _ = dump(fitted(name))
        needed |= set(skops.io.get_untrusted_types(data=data))
    assert needed == set(ALLOWED_TYPES)


def test_the_list_holds_no_module_and_no_sampler():
    for name in ALLOWED_TYPES:
        module, _, member = name.rpartition(".")
        assert not inspect.ismodule(getattr(importlib.import_module(module), member))
        assert "imblearn" not in name


def test_segment_numbers_travel_with_the_artifact():
    segmenter = fitted("clustering")
    loaded = load(*dump(replace(segmenter, numbers=segmenter.numbers + 40, highest_number=99)))
    assert loaded.highest_number == 99
    for matrix in MATRICES.values():
        np.testing.assert_array_equal(predict(loaded, matrix), predict(segmenter, matrix) + 40)
    pd.testing.assert_frame_equal(
        loaded.centroids.reset_index(drop=True), segmenter.centroids.reset_index(drop=True)
    )
