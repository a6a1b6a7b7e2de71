"""What a run ends with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipmax.manifest import Metrics


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the artifact is and what it reached."""

    folder: Path
    metrics: Metrics
    temperature: float
    best_epoch: int
