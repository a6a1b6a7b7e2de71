"""Where the graph of a version comes from that another tool has trained, and what was done to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Scores = Literal["logits", "log probabilities", "probabilities"]


class Imported(BaseModel):
    """A file of another tool, which has become this version's graph."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str = Field(min_length=1, description="its name")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    producer: str = Field(description="what the file says made it; may be empty")
    opset: int = Field(ge=1)
    output: str = Field(description="the output of the file that the logits come from")
    scores: Scores = Field(description="what that output was found to be")
    probability_floor: float | None = Field(
        default=None, gt=0.0, lt=1.0, description="smaller probabilities are raised to it before their logarithm"
    )
    changes: tuple[str, ...] = Field(description="what was done to the graph, in words")
    probes: int = Field(ge=1, description="rows that file and graph were compared on")
    difference: float = Field(ge=0.0, description="the largest difference of a probability, before the temperature")
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        default_factory=dict, description="data of validation and test: file name → SHA-256"
    )
    rows: dict[Literal["validation", "test"], int] = Field(default_factory=dict)
