"""Probabilities and a stored table of calibration scores → the set of labels that holds the true one as often as asked.

Split conformal prediction (Vovk et al. 2005; Angelopoulos & Bates 2021). Training measures and the service answers with
the functions below, so that both give the same set for the same probabilities, bit for bit.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Method = Literal["plain", "adaptive"]
Probabilities = npt.NDArray[np.floating[Any]]

TABLE_SIZE = 1000
_EXACT_TOP = 500
# (rows + 1) · coverage is often a whole number for people and a hair above it in binary: 10 · 0.9 must be 9.
_ROUNDING = 1e-9


class Conformal(BaseModel):
    """The calibration scores behind prediction sets of any coverage.

    Up to 1,000 rows every score is kept. Of more rows, the 500 highest are kept, so that coverages near 1 stay exact,
    and 500 evenly spaced ranks of the rest. A threshold is the next kept score at or above the exact one: never less
    than the coverage asked, at most 0.2 points more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Method = Field(description="plain: 1 - p of a label; adaptive: the sum of what is more probable than it")
    rows: int = Field(ge=1, description="rows that the scores were computed on; no weight was fitted on them")
    scores: tuple[float, ...] = Field(min_length=1, max_length=TABLE_SIZE, description="ascending")

    @model_validator(mode="after")
    def _check_scores(self) -> Conformal:
        if len(self.scores) != min(self.rows, TABLE_SIZE):
            raise ValueError(f"{min(self.rows, TABLE_SIZE)} scores for {self.rows} rows; there are {len(self.scores)}")
        if any(first > second for first, second in pairwise(self.scores)):
            raise ValueError("ascending scores")
        if self.scores[0] < 0.0 or self.scores[-1] > 1.0:
            raise ValueError("scores from 0 to 1")
        return self


class Tables(BaseModel):
    """The scores of both methods on the same rows: a caller chooses the method with the coverage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plain: Conformal
    adaptive: Conformal

    @model_validator(mode="after")
    def _check_methods(self) -> Tables:
        if (self.plain.method, self.adaptive.method) != ("plain", "adaptive"):
            raise ValueError("each table under the name of its method")
        return self


def label_scores(method: Method, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """How badly each label fits its row, from 0 (best): float [N, K] → float64 [N, K].

    plain: 1 - p (Sadinle et al. 2019): the smallest sets on average; a row may get none.
    adaptive: the sum of the probabilities that rank before the label (after Romano et al. 2020, without their random
    part): the most probable label scores 0, so no set is empty. Of equal probabilities the first label ranks first.
    """
    values = probabilities.astype(np.float64)
    if method == "plain":
        # A graph may answer 1.0000001; a score stays inside the table's range.
        return np.clip(1.0 - values, 0.0, 1.0)
    order = np.argsort(-values, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(values, order, axis=1), axis=1)
    ranked = np.concatenate([np.zeros((len(values), 1)), before[:, :-1]], axis=1)
    scores = np.empty_like(values)
    np.put_along_axis(scores, order, np.minimum(ranked, 1.0), axis=1)
    return scores


def threshold(conformal: Conformal, coverage: float) -> float:
    """The score up to which labels belong to the set, so that it holds the true label in `coverage` of all rows.

    The ⌈(rows + 1) · coverage⌉-th smallest score. Infinity where there are too few rows to promise that coverage:
    then every label belongs.

    Raises:
        ValueError: unless 0 < coverage < 1.
    """
    if not 0.0 < coverage < 1.0:
        raise ValueError("a coverage between 0 and 1, both excluded")
    rank = max(1, math.ceil((conformal.rows + 1) * coverage - _ROUNDING))
    if rank > conformal.rows:
        return math.inf
    return conformal.scores[int(np.searchsorted(kept_ranks(conformal.rows), rank))]


def kept_ranks(rows: int) -> npt.NDArray[np.int64]:
    """Which of `rows` ascending scores a table keeps, counted from 1, ascending: int64 [min(rows, 1000)]."""
    if rows <= TABLE_SIZE:
        return np.arange(1, rows + 1)
    spaced, rest = TABLE_SIZE - _EXACT_TOP, rows - _EXACT_TOP
    return np.concatenate([-(-np.arange(1, spaced + 1) * rest // spaced), np.arange(rest + 1, rows + 1)])


def contains(method: Method, probabilities: Probabilities, limit: float) -> npt.NDArray[np.bool_]:
    """Which labels are in the set of each row: float [N, K] → bool [N, K]; `limit` comes from `threshold`."""
    return label_scores(method, probabilities) <= limit


def prediction_set(method: Method, row: Probabilities, limit: float) -> list[int]:
    """The labels of one row's set, most probable first: float [K] → indices. Empty is possible when `plain`."""
    inside = contains(method, row[None, :], limit)[0]
    order = np.argsort(-row.astype(np.float64), kind="stable")
    return [int(index) for index in order if inside[index]]
