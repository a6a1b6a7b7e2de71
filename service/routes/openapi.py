"""The OpenAPI document → the same with the loaded models in it: names, versions, labels and an input that works."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from clipmax import inputs
from clipmax.inputs import ImageInput, Input, NumberInput
from clipmax.manifest import TOP_PROBABILITIES
from service.engine.catalog import Catalog
from service.engine.session import Session
from service.routes import bodies, bodies_v2, health, schemas

BEARER = "bearer"
"""The security scheme that the script of `/docs` puts a key into."""

_UNSEEN = (bodies.Question, bodies.ProblemBody, bodies_v2.InferRequest, bodies_v2.IndexRequest)


def with_models(document: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Put a golden example of each model into the predict operations, and operations of its own for each model.

    Those have the model's name in their path and its shapes and labels in their schemas, so that "Try it out" works
    at once.
    """
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
    if catalog.default_model in sessions:
        _fit(paths["/predict"]["post"], sessions[catalog.default_model])
    own = {path: operations for session in sessions.values() for path, operations in _paths(paths, session).items()}
    document["paths"] = own | paths  # those of the models first: they are what a visitor looks for
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


def add_keys(document: dict[str, Any]) -> None:
    """Say that a key is asked for, in either header, everywhere but for health."""
    document["components"]["securitySchemes"] = {
        BEARER: {"type": "http", "scheme": "bearer", "description": "the API key"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same, in another header"},
    }
    document["security"] = [{BEARER: []}, {"header": []}]
    for path in (health.LIVE, health.READY):
        document["paths"][path]["get"]["security"] = []


def _paths(paths: dict[str, Any], session: Session) -> dict[str, Any]:
    """The predict and infer operations of one model, under its name."""
    name = session.manifest.name
    v1, v2 = f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"
    predict = _own(paths["/v1/models/{name}:predict"]["post"], f"Predict with {name}", session, _example(session))
    infer = _own(paths["/v2/models/{name}/infer"]["post"], f"Infer with {name} (V2)", session, _example_v2(session))
    _fit(predict, session)
    return {v1: {"post": predict}, v2: {"post": infer}}


def _own(operation: dict[str, Any], summary: str, session: Session, example: dict[str, Any]) -> dict[str, Any]:
    """An operation for any model → the same for one."""
    found = copy.deepcopy(operation)
    name = session.manifest.name
    found |= {"tags": [name], "summary": summary, "description": example["description"]}
    found["operationId"] = f"{operation['operationId']}_{name}"
    found["parameters"] = [one for one in operation["parameters"] if one["name"] != "name"]
    _add_examples(found, {name: example})
    return found


def _fit(operation: dict[str, Any], session: Session) -> None:
    """The schemas of a V1 operation become those of one model."""
    operation["requestBody"]["content"]["application/json"]["schema"] = schemas.question(session.manifest)
    operation["responses"]["200"]["content"]["application/json"]["schema"] = schemas.answer(session.manifest)


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
    manifest = session.manifest
    values = inputs.by_name(manifest.inputs, manifest.golden[0].instance)
    tensors = [_tensor(schema, values[schema.name]) for schema in manifest.inputs]
    probabilities = TOP_PROBABILITIES if manifest.is_top else "probabilities"
    return _described(session, {"inputs": tensors, "outputs": [{"name": probabilities}, {"name": "label"}]})


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
