"""Logits with labels drawn from them: a model that is right about its own probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def sample(seed: int, rows: int = 400, classes: int = 5, sharpness: float = 2.0) -> tuple[Array, Array]:
    """Logits float64 [rows, classes] and labels int64 [rows] drawn by their softmax, so that T = 1 is exactly right."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, sharpness, (rows, classes))
    return logits, (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
