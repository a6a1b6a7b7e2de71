"""How a run's parameters were found."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Search(BaseModel):
    """All trials of a search, also those that came to nothing, and the best of them, which was trained again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trials: int = Field(ge=1, description="all that were begun")
    completed: int = Field(ge=1)
    pruned: int = Field(ge=0, description="ended early, because they were behind")
    failed: int = Field(ge=0, description="stopped by numbers that were not finite, or left by a process that ended")
    best_trial: int = Field(ge=0, description="counted from 0; trial 0 is the configuration as it was given")
    best_value: float = Field(description="log loss of validation's first half, after temperature: lower is better")
    parameters: dict[str, float] = Field(description="of the best trial; empty for trial 0")
    seed: int = Field(ge=0)
