"""The number of classes → how many rows an exported graph is compared on, and how near it must be to torch."""

from __future__ import annotations

TOLERANCE = 1e-5
"""Between two probabilities of the same row and class."""

BATCHES = (1, 7, 256)
_VALUES = 32 * 1024 * 1024
"""Logits at most: 256 rows of a million classes would take 1 GB, and onnxruntime makes three numbers of each."""


def batches(classes: int) -> list[int]:
    """1, 7 and 256 rows, or fewer of very many classes."""
    most = max(1, _VALUES // classes)
    return sorted({min(batch, most) for batch in BATCHES})
