"""What the last layer of many classes can and cannot answer, as the manifest keeps it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from clipmax.files import Sha256


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Unreachable(_Part):
    """Classes that no input can make the most probable one, whatever the layers below give."""

    tested: int = Field(ge=1, description="classes drawn at random, each tested exactly by linear programs")
    found: int = Field(ge=0, description="of them can never be predicted")
    upper: float = Field(ge=0.0, le=1.0, description="95 % upper bound (Clopper-Pearson) of their share of all classes")


class Ranked(_Part):
    """What the test split says beside `metrics`, over all classes."""

    top_5: float = Field(ge=0.0, le=1.0, description="share of rows whose class is among the 5 most probable")
    recall_at_20: float = Field(ge=0.0, le=1.0, description="share of rows whose class is among the 20 most probable")
    head_accuracy: float | None = Field(
        ge=0.0, le=1.0, description="of rows of the most frequent classes, which hold half of the training rows"
    )
    tail_accuracy: float | None = Field(ge=0.0, le=1.0, description="of rows of all other classes")
    head_classes: int = Field(ge=1)


class Approximate(_Part):
    """The two-stage graph against the exact one, measured on held-out rows."""

    cells: int = Field(ge=1, description="groups that the classes were cut into")
    probed: int = Field(ge=1, description="groups whose classes are scored for a row")
    dimensions: int = Field(ge=1, description="of the sketch of the last layer that ranks the groups")
    k: int = Field(ge=1)
    recall_at_k: float = Field(ge=0.0, le=1.0, description="share of the exact top k that it finds")
    log_partition_error: float = Field(ge=0.0, description="mean absolute error, in nats")
    log_partition_worst: float = Field(ge=0.0, description="largest absolute error, in nats")
    p50_ms: float = Field(gt=0.0, description="of one row in the session, median")
    exact_p50_ms: float = Field(gt=0.0, description="of the exact graph, the same rows")
    exact: Sha256 | None = Field(default=None, description="of the exact graph")
    rows: int = Field(ge=1)


class Head(_Part):
    """The last layer: how it was trained, what it can answer, and how far it is approximated."""

    name: str = Field(description="full, chunked, sampled, plif, sigsoftmax, mixture or adaptive")
    rank: int | None = Field(default=None, ge=0, description="numerical rank of a sample of the logits")
    rank_limit: int | None = Field(default=None, ge=1, description="the highest that this sample could have")
    width: int = Field(ge=1, description="values a row that enter the layer (d); the rank is at most d + 1")
    unreachable: Unreachable | None = None
    ranked: Ranked | None = None
    approximate: Approximate | None = None
