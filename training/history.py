"""Every trial of a search, in the order they were begun: what the report shows, and what the manifest counts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from clipmax.search import Search


class Trial(BaseModel):
    """One configuration that was tried."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    number: int
    state: Literal["completed", "pruned", "failed"]
    value: float | None = Field(description="log loss of validation's first half after temperature; of a completed one")
    epochs: int = Field(description="that it came to")
    parameters: dict[str, float] = Field(description="field of the configuration → value; of `width`, the factor")
    reason: str | None = Field(description="why it failed")


class History(BaseModel):
    """All trials and what they say about the parameters. At least one is completed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int
    trials: tuple[Trial, ...]
    importance: dict[str, float] = Field(
        description="parameter → share of the effect, by PED-ANOVA; empty for few trials"
    )

    @property
    def best(self) -> Trial:
        """The completed trial of the lowest value, the first of equals."""
        return min((trial for trial in self.trials if trial.value is not None), key=lambda trial: trial.value or 0.0)

    def count(self, state: str) -> int:
        """Trials that ended so."""
        return sum(trial.state == state for trial in self.trials)

    def best_so_far(self) -> list[tuple[int, float]]:
        """(number, lowest value up to it) of each completed trial."""
        lowest: list[tuple[int, float]] = []
        for trial in self.trials:
            if trial.value is not None:
                lowest.append((trial.number, min(trial.value, lowest[-1][1] if lowest else trial.value)))
        return lowest

    def summary(self) -> Search:
        """What the manifest says."""
        assert self.best.value is not None  # noqa: S101  # by its definition
        return Search(
            trials=len(self.trials),
            completed=self.count("completed"),
            pruned=self.count("pruned"),
            failed=self.count("failed"),
            best_trial=self.best.number,
            best_value=self.best.value,
            parameters=self.best.parameters,
            seed=self.seed,
        )
