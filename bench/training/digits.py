"""IDX files of MNIST → the same rows for every contender; numpy alone, so that it runs wherever a contender does."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "mnist"
ROWS, BATCH, CLASSES = 57_000, 128, 10
STEPS = ROWS // BATCH
LEARNING_RATE, LIMIT = 1e-3, 1.0
WIDTHS = (784, 256, 128, CLASSES)


def read() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images uint8 [57,000, 28, 28] and labels int64 [57,000]: as many as our loop trains on beside its validation."""
    images = _body("train-images-idx3-ubyte.gz", offset=16).reshape(-1, 28, 28)
    labels = _body("train-labels-idx1-ubyte.gz", offset=8).astype(np.int64)
    return images[:ROWS].copy(), labels[:ROWS]


def _body(name: str, *, offset: int) -> npt.NDArray[np.uint8]:
    with gzip.open(FOLDER / name) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=offset)
