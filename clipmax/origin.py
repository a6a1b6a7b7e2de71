"""Which published version a run went on from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Origin(BaseModel):
    """The version whose encoders and hidden layers were the first weights of this one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of its model.onnx")
    known_labels: int = Field(ge=0, description="labels that it had too, by name: their weights were taken over")
    new_labels: int = Field(ge=0, description="labels whose first weights came from the mean of their training rows")
