"""A manifest of an imported version says where its graph comes from, in place of data, training and figures."""

from __future__ import annotations

from typing import Any

import pytest

from clipmax import manifest
from clipmax.inspect import describe
from clipmax.refusal import Refusal
from tests.clipmax.versions import document

IMPORTED = {
    "file": "their.onnx",
    "sha256": "0" * 64,
    "producer": "skl2onnx 1.20.0",
    "opset": 17,
    "output": "probabilities",
    "scores": "probabilities",
    "probability_floor": 1e-7,
    "changes": ["ZipMap was dropped"],
    "probes": 256,
    "difference": 2e-7,
}


def unmeasured(**changes: Any) -> dict[str, Any]:
    """A document without metrics, data and training."""
    body = document(**changes)
    kept = {key: value for key, value in body.items() if key not in {"metrics", "data", "training", "seal"}}
    return manifest.seal(kept)


def test_what_was_not_measured_is_said_and_not_invented() -> None:
    """In the manifest as null, and to a person in words."""
    found = manifest.parse(manifest.dump(unmeasured(imported=IMPORTED)), where="manifest.json")
    assert (found.metrics, found.data, found.training) == (None, None, None)
    words = describe(found)
    assert "not measured" in words
    assert "their.onnx (skl2onnx 1.20.0)" in words
    assert "ZipMap was dropped" in words


def test_a_version_that_was_trained_here_says_how() -> None:
    """Only an import may leave it out."""
    with pytest.raises(Refusal, match="metrics, data and training, or imported instead"):
        manifest.dump(unmeasured())
