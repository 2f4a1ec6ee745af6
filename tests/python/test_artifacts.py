"""Artifacts: what is stored predicts the very same numbers, and nothing else is loaded."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.preprocessing import FunctionTransformer

from python_scoring import fitting
from python_scoring.artifacts import ALLOWED_TYPES, dump, load
from python_scoring.errors import LeadlightError
from python_scoring.features import FeatureSpec
from python_scoring.fitting import CANDIDATES, scores

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


Fitted = tuple[CalibratedClassifierCV, FeatureSpec]


@pytest.fixture(scope="module", params=list(CANDIDATES["binary"]))
def fitted(request: pytest.FixtureRequest) -> Fitted:
    frame, labels = training_frame()
    spec = FeatureSpec.learn(frame)
    matrix = spec.matrix(frame)
    estimator = fitting._pipeline("binary", request.param, matrix, seed=7)
    return fitting.calibrate(estimator, matrix, labels), spec


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("frame", [training_frame()[0], strange_frame()], ids=["known", "strange"])
def test_a_loaded_model_predicts_the_very_same_numbers(fitted, frame):
    estimator, spec = fitted
    matrix = spec.matrix(frame)
    np.testing.assert_array_equal(scores(load(*dump(estimator)), matrix), scores(estimator, matrix))


def test_a_fresh_process_predicts_the_very_same_numbers(fitted, tmp_path):
    estimator, spec = fitted
    data, sha256 = dump(estimator)
    (tmp_path / "model.skops").write_bytes(data)
    script = f"""
import json
import numpy as np
from python_scoring.artifacts import load
from python_scoring.features import FeatureSpec
from python_scoring.fitting import scores
from test_artifacts import strange_frame, training_frame

spec = FeatureSpec.from_json(json.loads({json.dumps(spec.to_json())!r}))
estimator = load(open("model.skops", "rb").read(), "{sha256}")
for name, frame in (("known", training_frame()[0]), ("strange", strange_frame())):
    np.save(name, scores(estimator, spec.matrix(frame)))
"""
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT_DIR), str(TESTS_DIR)])},
        check=True,
    )
    for name, frame in (("known", training_frame()[0]), ("strange", strange_frame())):
        np.testing.assert_array_equal(
            np.load(tmp_path / f"{name}.npy"), scores(estimator, spec.matrix(frame))
        )


def test_the_digest_is_that_of_the_bytes(fitted):
    data, sha256 = dump(fitted[0])
    assert sha256 == digest(data)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_tampered_byte_is_refused(fitted, share):
    data, sha256 = dump(fitted[0])
    tampered = bytearray(data)
    tampered[int(share * (len(data) - 1))] ^= 1
    with pytest.raises(LeadlightError, match="changed after it was stored"):
        load(bytes(tampered), sha256)


def test_another_models_digest_is_refused(fitted):
    data, _ = dump(fitted[0])
    with pytest.raises(LeadlightError, match="changed after it was stored"):
        load(data, digest(b"another"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_bytes_are_refused_even_with_their_own_digest(fitted, share):
    data, sha256 = dump(fitted[0])
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


def test_the_list_holds_just_what_the_candidates_need():
    frame, labels = training_frame()
    matrix = FeatureSpec.learn(frame).matrix(frame)
    needed: set[str] = set()
    for kind, candidates in CANDIDATES.items():
        for algorithm in candidates:
            pipeline = fitting._pipeline(kind, algorithm, matrix, seed=7)
            data, _ = dump(fitting.calibrate(pipeline, matrix, labels))
            needed |= set(skops.io.get_untrusted_types(data=data))
    assert needed == set(ALLOWED_TYPES)
