"""The JSON bodies of V2 in pydantic's words, for the OpenAPI document; no number of a request goes through them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.routes.bodies import Body

Datatype = Literal[
    "BOOL", "BYTES", "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"
]
Dimension = Annotated[int, Field(ge=1, le=2**63 - 1)]


class Parameters(BaseModel):
    """Parameters with a meaning here; the protocol lets clients send others, which are passed over."""

    model_config = ConfigDict(extra="allow")


class RequestParameters(Parameters):
    """Of a whole request."""

    binary_data_output: bool = Field(default=False, description="raw outputs, where an output does not say otherwise")


class InputParameters(Parameters):
    """Of one input."""

    binary_data_size: int | None = Field(default=None, ge=0, description="bytes of this tensor behind the JSON part")


class OutputParameters(Parameters):
    """Of one output."""

    binary_data: bool = Field(default=False, description="raw behind the JSON part")
    classification: int | None = Field(default=None, ge=1, description='so many best classes as "value:index:label"')


class InputTensor(Body):
    """One input of a request."""

    name: str
    shape: list[Dimension] = Field(min_length=1, description="rows first")
    datatype: Datatype
    parameters: InputParameters | None = None
    data: list[JsonValue] | None = Field(default=None, description="flat, or nested as the shape; not where raw")


class OutputRequest(Body):
    """One output that is wanted."""

    name: str
    parameters: OutputParameters | None = None


class InferRequest(Body):
    """An inference request; without outputs, all are given."""

    id: str | None = Field(default=None, max_length=256, description="comes back in the answer")
    model_name: JsonValue = Field(default=None, description="passed over: the path says it")
    parameters: RequestParameters | None = None
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[OutputRequest] | None = None


class OutputTensor(Body):
    """One output of an answer."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[JsonValue] | None = Field(default=None, description="flat, row after row; absent where raw")


class InferAnswer(Body):
    """An inference answer."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, str | bool] = Field(description="provider; approximate, where the graph estimates the rest")
    outputs: list[OutputTensor]


class ServerMetadata(Body):
    """Who answers here."""

    name: str
    version: str
    extensions: list[str]
    parameters: dict[str, Any] = Field(description="default_model, null where there is none, and limits of a request")


class TensorMetadata(Body):
    """A tensor of a model; -1 stands for any size."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(Body):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any] = Field(
        description="version, labels (of very many the first), provider, kinds of inputs, limits"
    )


class ModelReady(Body):
    """Whether a model serves; one that does not is a 404."""

    name: str
    ready: bool


class IndexRequest(Body):
    """What to list."""

    ready: bool = Field(default=False, description="only versions that serve")


class IndexEntry(Body):
    """One version that was found."""

    name: str
    version: str
    state: Literal["LOADING", "READY", "UNAVAILABLE", "UNLOADING"]
    reason: str = Field(description="why it is refused")
