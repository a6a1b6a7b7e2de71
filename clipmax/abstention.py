"""Probabilities and the manifest's threshold → which rows should be left unanswered."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field


class Abstention(BaseModel):
    """Below which top probability an answer is withheld, so that those given are wrong at most as often as chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    risk: float = Field(gt=0.0, lt=1.0, description="chosen share of wrong answers among the accepted")
    confidence_level: float = Field(gt=0.0, lt=1.0, description="how sure it is that the risk is kept on new rows")
    threshold: float | None = Field(
        ge=0.0,
        le=1.0,
        description="accepted from this top probability on; null: no threshold was shown to keep the risk",
    )
    coverage: float = Field(ge=0.0, le=1.0, description="share of the rows that was accepted")
    rows: int = Field(ge=1, description="rows that the threshold was chosen on; no weight was fitted on them")


def abstains(abstention: Abstention, probabilities: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Which rows are left unanswered: float [N, K] → bool [N]. Without a threshold, all."""
    if abstention.threshold is None:
        return np.ones(len(probabilities), dtype=np.bool_)
    return np.asarray(probabilities.max(axis=1).astype(np.float64) < abstention.threshold)
