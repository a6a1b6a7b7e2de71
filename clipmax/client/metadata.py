"""A model's metadata in the Open Inference Protocol → what a client needs of it, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from clipmax.client.cutting import Limits
from clipmax.client.errors import ClientError, answer_invalid


@dataclass(frozen=True, slots=True)
class InputMetadata:
    """One input: `kind` is image, number, category or text; `datatype` the first one that it takes."""

    name: str
    kind: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a version takes and gives; of very many labels `labels` are the first, and `labels_count` says how many."""

    name: str
    version: int
    labels: tuple[str, ...]
    inputs: tuple[InputMetadata, ...]
    limits: Limits
    labels_count: int = 0
    outputs: tuple[str, ...] = ()

    @property
    def has_all_labels(self) -> bool:
        """Whether its answers can hold every label's probability, and `labels` names them all."""
        return "top_indices" not in self.outputs and len(self.labels) >= self.labels_count


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What a service says of itself; `default_model` is None where it has none."""

    default_model: str | None
    limits: Limits


def read_model(response: httpx.Response) -> ModelMetadata:
    """Raises AnswerInvalid for an answer that is none of ours."""
    try:
        document = orjson.loads(response.content)
        parameters = document["parameters"]
        return ModelMetadata(
            name=document["name"],
            version=int(parameters["version"]),
            labels=tuple(parameters["labels"]),
            labels_count=int(parameters.get("labels_count", len(parameters["labels"]))),
            inputs=tuple(_input(one, parameters["inputs"]) for one in document["inputs"]),
            limits=Limits.of(document),
            outputs=tuple(one["name"] for one in document["outputs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise answer_invalid(response) from error


def read_server(response: httpx.Response) -> ServerMetadata:
    """Of a service that states neither limits nor a default model, another one than ours, nothing is known."""
    try:
        document = orjson.loads(response.content)
    except ValueError as error:
        raise answer_invalid(response) from error
    parameters = document.get("parameters") if isinstance(document, Mapping) else None
    default = parameters.get("default_model") if isinstance(parameters, Mapping) else None
    return ServerMetadata(default_model=default, limits=Limits.of(document))


def named(model: str | None) -> str:
    """A model's name. Raises ClientError where there is none."""
    if model is None:
        raise ClientError("the service has no default model; name one")
    return model


def _input(document: Mapping[str, Any], kinds: Mapping[str, Any]) -> InputMetadata:
    name = document["name"]
    return InputMetadata(name, kinds[name]["kind"], document["datatype"], tuple(document["shape"][1:]))
