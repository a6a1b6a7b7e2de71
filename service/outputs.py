"""What one run of a graph gives, a row an instance: every class, or the most probable ones and the rest together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Rows = slice | npt.NDArray[np.intp]

_FEW_VALUES = 8192


@dataclass(frozen=True, slots=True)
class Full:
    """float32 [N, K] each, and float32 [N] where the version has a novelty."""

    logits: Floats
    probabilities: Floats
    novelty: Floats | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def highest(self) -> Floats:
        """The largest probability of each row: float32 [N]."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def best(self) -> npt.NDArray[np.intp]:
        """The most probable class of each row, of equally probable ones the first: integers [N]."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity in any row."""
        novelty = self.novelty
        return _is_finite(self.probabilities) and _is_finite(self.logits) and (novelty is None or _is_finite(novelty))

    @property
    def finite_rows(self) -> npt.NDArray[np.bool_]:
        """The same of each row, of its classes."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1) & np.isfinite(self.logits).all(axis=1))

    def of(self, rows: Rows) -> Self:
        """These rows, in this order."""
        novelty = None if self.novelty is None else self.novelty[rows]
        return type(self)(self.logits[rows], self.probabilities[rows], novelty)

    @classmethod
    def joined(cls, parts: Sequence[Any]) -> Self:
        """What several runs of one session gave, one after the other."""
        novelty = [part.novelty for part in parts if part.novelty is not None]
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate(novelty) if novelty else None,
        )


@dataclass(frozen=True, slots=True)
class Top:
    """int64 [N, k] classes, float32 [N, k] their probabilities, descending, and float32 [N] log of the partition."""

    top_indices: Indices
    top_probabilities: Floats
    log_partition: Floats

    def __len__(self) -> int:
        return len(self.top_probabilities)

    @property
    def highest(self) -> Floats:
        """The largest probability of each row: float32 [N]."""
        return self.top_probabilities[:, 0]

    @property
    def best(self) -> npt.NDArray[np.intp]:
        """The most probable class of each row: integers [N]."""
        return self.top_indices[:, 0]

    @property
    def novelty(self) -> None:
        """Such a graph has none."""
        return

    @property
    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity in any row."""
        return _is_finite(self.top_probabilities) and _is_finite(self.log_partition)

    @property
    def finite_rows(self) -> npt.NDArray[np.bool_]:
        """The same of each row."""
        return np.asarray(np.isfinite(self.top_probabilities).all(axis=1) & np.isfinite(self.log_partition))

    def remainder(self, count: int) -> Floats:
        """The probability of all classes but the first `count`, at least 0: float32 [N]."""
        given = self.top_probabilities[:, :count].sum(axis=1, dtype=np.float64)
        return np.asarray(np.maximum(1.0 - given, 0.0), dtype=np.float32)

    def of(self, rows: Rows) -> Self:
        """These rows, in this order."""
        return type(self)(self.top_indices[rows], self.top_probabilities[rows], self.log_partition[rows])

    @classmethod
    def joined(cls, parts: Sequence[Any]) -> Self:
        """What several runs of one session gave, one after the other."""
        return cls(
            np.concatenate([part.top_indices for part in parts]),
            np.concatenate([part.top_probabilities for part in parts]),
            np.concatenate([part.log_partition for part in parts]),
        )


Outputs = Full | Top


def _is_finite(values: Floats) -> bool:
    """Whether there is neither NaN nor infinity.

    The sum of squares is one quick call that warns of nothing, and is finite only if all values are; if it is not,
    it may have overflowed. Of many values numpy's BLAS would make it in threads.
    """
    is_few = values.size <= _FEW_VALUES
    return (is_few and math.isfinite(np.vdot(values, values))) or bool(np.isfinite(values).all())
