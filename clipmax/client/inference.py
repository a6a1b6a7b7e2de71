"""What the binary path gives: arrays of all rows, as the graph computed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Inference:
    """The answers to N rows by one version of a model with K labels.

    Attributes:
        labels: the K labels in the model's order.
        probabilities: float32 [N, K].
        logits: float32 [N, K] before temperature, where they were asked for.
        out_of_range: bool [N], whether the graph clipped a value of the row.
    """

    model: str
    version: int
    provider: str
    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32] | None
    out_of_range: npt.NDArray[np.bool_]

    @property
    def label(self) -> list[str]:
        """The likeliest label of each row; of equally likely ones the first."""
        return [self.labels[index] for index in self.probabilities.argmax(axis=1).tolist()]

    def to_numpy(self) -> npt.NDArray[np.float32]:
        """The probabilities."""
        return self.probabilities

    def to_polars(self) -> Any:
        """A `polars.DataFrame`: label, probability and `p(LABEL)` of every label. Raises ImportError without polars."""
        return import_module("polars").DataFrame(self._columns())

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` of the same columns. Raises ImportError without pandas."""
        return import_module("pandas").DataFrame(self._columns())

    def _columns(self) -> dict[str, Any]:
        found: dict[str, Any] = {"label": self.label, "probability": self.probabilities.max(axis=1)}
        for index, label in enumerate(self.labels):
            found[f"p({label})"] = self.probabilities[:, index]
        return found | {"out_of_range": self.out_of_range}


def joined(parts: Sequence[Inference]) -> Inference:
    """The parts of one call, which one version has answered."""
    first = parts[0]
    return replace(
        first,
        probabilities=np.concatenate([part.probabilities for part in parts]),
        logits=None
        if first.logits is None
        else np.concatenate([one.logits for one in parts if one.logits is not None]),
        out_of_range=np.concatenate([part.out_of_range for part in parts]),
    )
