"""A published version of some thousand classes that lie in groups, as trained ones do, and rows for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from clipmax import manifest
from tests import artifacts
from training.data.dataset import Split

CLASSES, GROUPS, TOP_K = 40_000, 300, 20


def publish(root: Path, **members: Any) -> Path:
    """Class vectors around common means."""
    members = {"outputs": list(manifest.TOP_OUTPUTS), **members}
    return artifacts.publish_made(root, "clustered", lambda _: model(), labels=CLASSES, **members)


def model() -> onnx.ModelProto:
    found = artifacts.top_model(1, CLASSES, TOP_K)
    weight = next(one for one in found.graph.initializer if one.name == "weight")
    weight.CopyFrom(numpy_helper.from_array(vectors(), "weight"))
    return found


def vectors() -> np.ndarray:
    """float32 [16, CLASSES]."""
    generator = np.random.default_rng(0)
    means = generator.normal(size=(GROUPS, 16)) * 6
    near = means[generator.integers(0, GROUPS, CLASSES)] + 0.3 * generator.normal(size=(CLASSES, 16))
    return np.ascontiguousarray(near.T, dtype=np.float32)


def rows(count: int, *, seed: int) -> Split:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(count, *artifacts.SHAPE)).astype(np.float32)
    return Split({"image": pixels}, np.zeros(count, dtype=np.int64))
