"""The OpenAPI document → the same with the loaded models in it: names, versions, labels and an input that works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipmax.inputs import ImageInput, Input, NumberInput
from service.engine.catalog import Catalog
from service.engine.session import Session
from service.routes import bodies, bodies_v2

_UNSEEN = (bodies.Question, bodies.ProblemBody, bodies_v2.InferRequest, bodies_v2.IndexRequest)


def with_models(document: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Put a golden example of each model into the examples of the predict operations."""
    document["components"]["schemas"] |= bodies.schemas(*_UNSEEN)
    sessions = {name: catalog.find(name) for name in catalog.served_names()}
    examples = {name: _example(session) for name, session in sessions.items()}
    examples_v2 = {name: _example_v2(session) for name, session in sessions.items()}
    paths = document["paths"]
    for path, operations in paths.items():
        if path.endswith("predict"):
            _add_examples(operations["post"], _for_path(path, examples, catalog.default_model))
        elif path.endswith("/infer"):
            _add_examples(operations["post"], examples_v2)
        for operation in operations.values():
            _add_names(operation, catalog)
            _remove_validation(operation)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


def _for_path(path: str, examples: dict[str, Any], default_model: str | None) -> dict[str, Any]:
    if path == "/predict":
        return {name: example for name, example in examples.items() if name == default_model}
    return examples


def _add_examples(operation: dict[str, Any], examples: dict[str, Any]) -> None:
    operation["requestBody"]["content"]["application/json"]["examples"] = examples


def _add_names(operation: dict[str, Any], catalog: Catalog) -> None:
    for parameter in operation.get("parameters", ()):
        names = catalog.served_names()
        if parameter["name"] == "name" and names:
            parameter["example"] = names[0]
        elif parameter["name"] == "version" and names:
            parameter["example"] = str(catalog.serving_versions(names[0])[-1])


def _remove_validation(operation: dict[str, Any]) -> None:
    """FastAPI writes a 422 of its own to every operation with a parameter; ours are all problems."""
    content = operation["responses"].get("422", {}).get("content", {})
    if "application/json" in content:
        del operation["responses"]["422"]


def _example(session: Session) -> dict[str, Any]:
    instance = session.manifest.golden[0].instance
    return _described(session, {"instances": [instance], "parameters": {"top_k": 3}})


def _example_v2(session: Session) -> dict[str, Any]:
    schemas = session.manifest.inputs
    values = _values(schemas, session.manifest.golden[0].instance)
    tensors = [_tensor(schema, value) for schema, value in zip(schemas, values, strict=True)]
    return _described(session, {"inputs": tensors, "outputs": [{"name": "probabilities"}, {"name": "label"}]})


def _values(schemas: Sequence[Input], instance: Any) -> list[Any]:
    """One V1 instance, in whichever of its forms, as a value an input."""
    if isinstance(instance, Mapping) and schemas[0].name in instance:
        return [instance.get(schema.name) for schema in schemas]
    return [instance] if len(schemas) == 1 else list(instance)


def _tensor(schema: Input, value: Any) -> dict[str, Any]:
    """A V1 value as a V2 tensor of one row."""
    if isinstance(schema, ImageInput) and isinstance(value, list):
        pixels = np.array(value, dtype=np.float64).reshape(-1).tolist()
        return {"name": schema.name, "shape": [1, *schema.shape], "datatype": "FP32", "data": pixels}
    if isinstance(schema, ImageInput):
        value = value["b64"]
    datatype = "FP64" if isinstance(schema, NumberInput) else "BYTES"
    return {"name": schema.name, "shape": [1], "datatype": datatype, "data": [value]}


def _described(session: Session, value: dict[str, Any]) -> dict[str, Any]:
    manifest = session.manifest
    shapes = "; ".join(f"{one.name}: {one.dtype} {list(one.shape)}" for one in manifest.inputs)
    labels = ", ".join(manifest.labels[:20]) + (", …" if len(manifest.labels) > 20 else "")
    return {
        "summary": f"{manifest.name} version {manifest.version}",
        "description": f"inputs: {shapes}; labels: {labels}",
        "value": value,
    }
