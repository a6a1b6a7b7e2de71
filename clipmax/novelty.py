"""A graph's novelty scores and those of calibration rows → the p-value of a row being like the training data.

Conformal p-values (Vovk et al. 2005; Bates et al. 2023, "Testing for outliers with conformal p-values"). Training and
the service answer with the function below, so that both give the same value for the same score, bit for bit.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clipmax.conformal import TABLE_SIZE, kept_ranks

OUTPUT = "novelty"
"""The graph's output: float32 [N], higher is less like the training data."""


class Novelty(BaseModel):
    """Which score the graph's output `novelty` is, and that output for rows that nothing was fitted on.

    Up to 1,000 rows every value is kept. Of more rows, the 500 highest are kept, so that small p-values stay exact, and
    500 evenly spaced ranks of the rest: a p-value is never below the exact one and at most 0.2 points above it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    score: str = Field(min_length=1, max_length=64, description="the name of the score, as in training's configuration")
    rows: int = Field(ge=1, description="rows that the values were computed on; nothing else was fitted on them")
    values: tuple[float, ...] = Field(min_length=1, max_length=TABLE_SIZE, description="ascending")

    @model_validator(mode="after")
    def _check_values(self) -> Novelty:
        if len(self.values) != min(self.rows, TABLE_SIZE):
            raise ValueError(f"{min(self.rows, TABLE_SIZE)} values for {self.rows} rows; there are {len(self.values)}")
        if any(first > second for first, second in pairwise(self.values)):
            raise ValueError("ascending values")
        return self

    @cached_property
    def steps(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The values, and the p-value of a score above the first 0, 1, 2, … of them."""
        ranks = np.concatenate([[0], kept_ranks(self.rows)])
        return np.array(self.values), (1.0 + self.rows - ranks) / (1.0 + self.rows)


def p_values(novelty: Novelty, scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Of rows like the calibration rows, the share that is at least as novel: float [N] → float64 [N], above 0.

    (1 + calibration rows with a score at least as high) / (1 + calibration rows). Of rows that are like the training
    data, at most a share α gets a p-value of α or less, for every α, on average over the calibration rows' draw.
    """
    values, steps = novelty.steps
    found: npt.NDArray[np.float64] = steps[np.searchsorted(values, scores.astype(np.float64), side="left")]
    return found
