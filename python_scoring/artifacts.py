"""Turns a fitted model into bytes and back, without pickle: loading one runs no code it brings."""

from __future__ import annotations

import hashlib
import zipfile

import skops.io

from python_scoring.errors import LeadlightError
from python_scoring.fitting import Estimator

# What the candidates and the segmenter hold beyond the plain containers, arrays and public
# scikit-learn estimators that skops loads by itself. skops vouches for types only, not for what
# they hold: trees with wild indices can still crash the process, so who may write the registry
# stays a matter of rights in the database.
ALLOWED_TYPES = (
    "functools.partial",  # gradient boosting checks its input with check_array, preset
    "numpy.dtype",
    "python_scoring.candidates.filled_numeric_columns",
    "python_scoring.clustering.Segmenter",
    "python_scoring.clustering.Space",
    "python_scoring.fitting.FlooredResponse",
    "python_scoring.fitting.Predictor",
    "python_scoring.fitting.SigmoidResponse",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
)


def dump(estimator: Estimator) -> tuple[bytes, str]:
    """Return a fitted estimator as a skops file and the file's SHA-256 digest in hex.

    Raises:
        LeadlightError: The estimator holds a type that `load` would refuse.
    """
    data = skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED)
    _require_allowed_types(data)
    return data, hashlib.sha256(data).hexdigest()


def load(data: bytes, sha256: str) -> Estimator:
    """Return the estimator that `dump` wrote; it predicts the very same numbers.

    Args:
        data: The skops file.
        sha256: The digest, in hex, that was stored beside it.

    Raises:
        LeadlightError: The bytes do not have the digest, are no skops file, or hold a type that is
            not in `ALLOWED_TYPES`.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise LeadlightError(
            f"the model artifact was changed after it was stored: its SHA-256 is {found}, the "
            f"registry says {sha256}; train the task again"
        )
    try:
        _require_allowed_types(data)
        return skops.io.loads(data, trusted=ALLOWED_TYPES)
    except LeadlightError:
        raise
    except Exception as error:  # a malformed file may fail anywhere in zipfile, json or skops
        raise LeadlightError(
            f"the model artifact cannot be read ({type(error).__name__}: {error}): train the "
            "task again with the installed versions of scikit-learn and skops"
        ) from error


def _require_allowed_types(data: bytes) -> None:
    """Refuse a skops file that holds a type beyond those that may be loaded."""
    refused = sorted(set(skops.io.get_untrusted_types(data=data)) - set(ALLOWED_TYPES))
    if refused:
        raise LeadlightError(
            f"the model artifact holds types that are not allowed: {', '.join(refused)}; it was "
            "not written by leadlight, or the list in artifacts.py lags behind the candidates"
        )
