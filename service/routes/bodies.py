"""The JSON bodies of V1 in pydantic's words, for the OpenAPI document; no number of a request goes through them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema, models_json_schema

from clipmax.conformal import Method
from service.answer import DEFAULT_TOP_K


class Body(BaseModel):
    """A body with no other members than these."""

    model_config = ConfigDict(extra="forbid")


class Parameters(Body):
    """What to answer of each instance."""

    top_k: int = Field(
        default=DEFAULT_TOP_K,
        ge=1,
        description="likeliest labels; above their number, or what the graph gives: all of those",
    )
    probabilities: bool = Field(default=False, description="every label's probability")
    logits: bool = Field(default=False, description="every label's logit, before temperature")
    coverage: float = Field(
        default=0.9, gt=0, lt=1, description="give prediction_set, which holds the true label so often"
    )
    coverage_method: Method = Field(default="adaptive", description="adaptive: no set is empty; plain: smaller sets")
    abstain: bool = Field(default=False, description="give abstained: whether the model had better not decide")
    novelty: bool = Field(default=False, description="how unlike the training data, where a version has a score for it")
    candidates: list[str] | SkipJsonSchema[None] = Field(
        default=None, min_length=1, description="answer with these labels only; their probabilities stay as they are"
    )
    exclude_seen: bool = Field(default=False, description="answer without the items of the history")


class Question(Body):
    """A V1 predict request."""

    instances: list[JsonValue] = Field(min_length=1, description="one value a row, as the model's inputs say")
    parameters: Parameters = Field(default_factory=Parameters)


class Top(Body):
    """One label of the likeliest."""

    label: str
    probability: float


class Novelty(Body):
    """How unlike the training data a row is."""

    score: float = Field(description="the graph's; higher is less alike")
    p_value: float = Field(gt=0, le=1, description="the share of rows like the training data that is at least as novel")


class HistoryCounts(Body):
    """What the model could use of a history."""

    known: int = Field(description="purchases of items that the model knows")
    unknown: int = Field(description="purchases of others, which count for nothing")
    prior: bool = Field(description="nothing is known, so the answer is what is likely for anybody")


class Considered(Body):
    """The labels that were left."""

    labels: int
    probability: float = Field(description="that one of them is right")


class Prediction(Body):
    """The answer for one instance."""

    label: str = Field(description="the likeliest label; of equally likely ones the first in label order")
    probability: float
    top: list[Top]
    remainder: float | None = Field(
        default=None, description="probability of all other labels, of a version that gives only the likeliest"
    )
    out_of_range: bool = Field(description="whether the graph had to clip a value of this row")
    unknown: list[str] | None = Field(default=None, description="inputs with a word that training never saw")
    truncated: list[str] | None = Field(default=None, description="inputs with a text that was cut")
    history: HistoryCounts | None = Field(default=None, description="of a model that reads histories")
    considered: Considered | None = Field(default=None, description="where candidates or exclude_seen left labels out")
    prediction_set: list[str] | None = Field(default=None, description="likeliest first, where coverage was given")
    abstained: bool | None = Field(default=None, description="where asked for")
    novelty: Novelty | None = Field(default=None, description="where asked for")
    probabilities: dict[str, float] | None = Field(default=None, description="by label, where asked for")
    logits: dict[str, float] | None = Field(default=None, description="by label, where asked for")


class Answer(Body):
    """A V1 predict answer."""

    predictions: list[Prediction]
    model: str
    version: int
    provider: str = Field(description="the execution provider that ran: cpu, cuda or tensorrt")
    approximate: bool | None = Field(
        default=None, description="true where the graph scores some of the labels and estimates the rest"
    )
    request_id: str


class ProblemBody(Body):
    """Every error: an RFC 9457 problem that is a valid Open Inference Protocol error too."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    pointer: str
    request_id: str
    retryable: bool
    error: str


class ModelStatus(Body):
    """The states of a model's versions, as TensorFlow Serving names them, with our reason where one is refused."""

    name: str
    ready: bool
    model_version_status: list[dict[str, Any]]
    aliases: dict[str, str] = Field(description="alias → version, of the aliases in force")


def problem_responses(*statuses: int, media_type: str = "application/problem+json") -> dict[int | str, dict[str, Any]]:
    """The error answers of an operation, for FastAPI's `responses`."""
    content = {media_type: {"schema": reference(ProblemBody)}}
    return {status: {"description": "A problem", "content": content} for status in statuses}


def reference(body: type[BaseModel]) -> dict[str, str]:
    """The place of a body's schema in the OpenAPI document, where `schemas` puts it."""
    return {"$ref": _TEMPLATE.format(model=body.__name__)}


def schemas(*models: type[BaseModel]) -> dict[str, Any]:
    """Schemas that FastAPI does not collect by itself, because it does not read or write these bodies."""
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_TEMPLATE)
    definitions: dict[str, Any] = found["$defs"]
    return definitions


_TEMPLATE = "#/components/schemas/{model}"
