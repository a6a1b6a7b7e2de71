"""A loaded model's inputs and labels → JSON Schemas of its V1 instances and answers, for the OpenAPI document."""

from __future__ import annotations

import copy
from typing import Any

from clipmax.inputs import CategoryInput, HistoryInput, ImageInput, Input, NumberInput
from clipmax.manifest import Manifest
from service.routes import bodies

_SHOWN = 1000
"""Labels and categories; a list of more would be longer than all the rest of the document."""

Schema = dict[str, Any]


def question(manifest: Manifest) -> Schema:
    """A predict request with instances as this model takes them."""
    found: Schema = copy.deepcopy(bodies.schemas(bodies.Question)["Question"])
    found["title"] = f"Question to {manifest.name}"
    found["properties"]["instances"]["items"] = instance(manifest.inputs)
    return found


def answer(manifest: Manifest) -> Schema:
    """A predict answer with labels as this model gives them."""
    is_whole = len(manifest.labels) <= _SHOWN
    label = {"type": "string", "enum" if is_whole else "examples": list(manifest.labels[:_SHOWN])}
    top = {"items": {"properties": {"label": label}}}
    prediction = {"properties": {"label": label, "top": top}}
    return {"allOf": [bodies.reference(bodies.Answer), {"properties": {"predictions": {"items": prediction}}}]}


def instance(inputs: tuple[Input, ...]) -> Schema:
    """One row: an object by input name, or values in their order, or of one input the bare value."""
    properties = {one.name: _value(one) for one in inputs}
    needed = [one.name for one in inputs if one.kind in {"image", "text", "history"}]
    row = {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
    if len(inputs) == 1:
        return {"anyOf": [properties[inputs[0].name], {**row, "required": [inputs[0].name]}]}
    values = {"type": "array", "prefixItems": list(properties.values()), "items": False, "minItems": len(inputs)}
    return {"anyOf": [row, values]}


def _value(schema: Input) -> Schema:
    if isinstance(schema, ImageInput):
        return _image(schema)
    if isinstance(schema, NumberInput):
        return {"type": ["number", "null"], "description": f"from {schema.minimum} to {schema.maximum} in training"}
    if isinstance(schema, CategoryInput):
        return {"type": ["string", "null"], "examples": list(schema.categories[:_SHOWN])}
    if isinstance(schema, HistoryInput):
        return _history(schema)
    return {"type": "string", "description": f"{schema.max_length} code points of it are read"}


def _history(schema: HistoryInput) -> Schema:
    most = schema.max_length
    items = {"type": "array", "items": {"type": "string", "examples": list(schema.items[:_SHOWN])}, "maxItems": most}
    days = {"type": "array", "items": {"type": "number"}, "maxItems": most, "description": "of each item"}
    properties = {"items": items, "days_ago": days}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _image(schema: ImageInput) -> Schema:
    pixel = {"type": "number", "description": f"from {schema.minimum:g} to {schema.maximum:g}"}
    encoded = {"type": "string", "contentEncoding": "base64", "description": "a PNG or JPEG of just this size"}
    return {
        "anyOf": [
            _nested(pixel, schema.shape),
            _nested(pixel, (schema.size,)),
            {"type": "object", "properties": {"b64": encoded}, "required": ["b64"], "additionalProperties": False},
        ]
    }


def _nested(items: Schema, shape: tuple[int, ...]) -> Schema:
    for size in reversed(shape):
        items = {"type": "array", "items": items, "minItems": size, "maxItems": size}
    return items
