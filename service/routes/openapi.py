"""The OpenAPI document → the same with the loaded models in it: names, versions, labels and an input that works."""

from __future__ import annotations

from typing import Any

from service.engine.catalog import Catalog
from service.engine.session import Session
from service.routes import bodies


def with_models(document: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Put a golden example of each model into the examples of the predict operations."""
    document["components"]["schemas"] |= bodies.schemas()
    examples = {name: _example(catalog.find(name)) for name in catalog.served_names()}
    paths = document["paths"]
    for path, operations in paths.items():
        if path.endswith("predict"):
            _add_examples(operations["post"], _for_path(path, examples, catalog.default_model))
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
    manifest = session.manifest
    shapes = "; ".join(f"{one.name}: {one.dtype} {list(one.shape)}" for one in manifest.inputs)
    labels = ", ".join(manifest.labels[:20]) + (", …" if len(manifest.labels) > 20 else "")
    return {
        "summary": f"{manifest.name} version {manifest.version}",
        "description": f"inputs: {shapes}; labels: {labels}",
        "value": {"instances": [manifest.golden[0].instance], "parameters": {"top_k": 3}},
    }
