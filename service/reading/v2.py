"""The body of an Open Inference Protocol request → the graph's tensors and the outputs that are wanted.

    {"id": "…", "parameters": {…}, "inputs": [{"name", "shape", "datatype", "parameters", "data"}],
     "outputs": [{"name", "parameters"}]}

Parameters that the protocol leaves to servers and that mean nothing here are passed over, as Triton does; so is
`model_name`, in which kserve's client repeats what the path says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipmax import inputs
from clipmax.inputs import Input
from clipmax.manifest import LOG_PARTITION, TOP_INDICES
from clipmax.novelty import OUTPUT as NOVELTY
from clipmax.problems import Problem
from service.reading import binary, json, lift, tensors
from service.reading.body import Headers
from service.reading.v1 import Limits

LABEL, OUT_OF_RANGE = "label", "out_of_range"
"""Outputs that the graph does not have: the likeliest label's name, and whether the graph clipped a value."""

_MEMBERS = ("id", "model_name", "parameters", "inputs", "outputs")
_INPUT_MEMBERS = ("name", "shape", "datatype", "parameters", "data")
_OUTPUT_MEMBERS = ("name", "parameters")
_ID_LONGEST = 256
_CLASSES_LIMIT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output as it was asked for: raw behind the JSON part or inside it, as numbers or as the best classes."""

    name: str
    binary: bool = False
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks."""

    tensors: Mapping[str, inputs.Tensor]
    outputs: tuple[Wanted, ...]
    id: str | None


def read(body: bytes, headers: Headers, schemas: Sequence[Input], outputs: Sequence[str], limits: Limits) -> Question:
    """The question in a body.

    Args:
        body: JSON, with raw tensors behind it where `headers` say so.
        headers: of the request.
        schemas: the model's inputs.
        outputs: the model's outputs.
        limits: bounds of one request.

    Raises:
        Problem: what `json.decode`, `binary` and `tensors` raise; INPUT_NAME, OUTPUT_NAME, FIELD_MISSING,
            UNKNOWN_FIELD, TYPE and PARAMETER, with a pointer.
    """
    text, raw = binary.split(body, headers)
    document = _lifted(text, schemas, limits) or json.decode(text, max_depth=limits.max_json_depth)
    _check_object(document, _MEMBERS, "")
    names = (*outputs, LABEL, OUT_OF_RANGE)
    wanted = _outputs(document, names, _binary_default(document))
    found = _inputs(document, schemas, binary.Frames(raw), limits.max_batch_rows)
    return Question(found, wanted, _id(document))


def _lifted(text: bytes, schemas: Sequence[Input], limits: Limits) -> dict[str, Any] | None:
    """The document of a usual request for an image model, its data an array already; else None."""
    if len(schemas) != 1 or schemas[0].kind != "image":
        return None
    lifted = lift.lift(text)
    if lifted is None:
        return None
    try:
        document = json.decode(lifted[0], max_depth=limits.max_json_depth)
    except Problem:  # whose place is in the whole text
        return None
    match document:
        case {"inputs": [{"datatype": "FP32" | "FP64", "data": []} as given]}:
            given["data"] = lifted[1]
            return dict(document)
    return None


def _id(document: Mapping[str, Any]) -> str | None:
    """It comes back in the answer, so it has to be one that is safe to show."""
    value = document.get("id")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _ID_LONGEST or any(map(_is_control, value)):
        detail = f"id must be a string of at most {_ID_LONGEST} characters, none of them a control character"
        raise Problem("PARAMETER", detail, pointer="/id")
    return value


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Zl", "Zp"}


def _inputs(
    document: Mapping[str, Any], schemas: Sequence[Input], frames: binary.Frames, max_rows: int
) -> dict[str, inputs.Tensor]:
    """Names, then shapes, then data: nothing is made of a size that was not looked at."""
    given = _list(document, "inputs")
    if not given:
        raise Problem("INPUT_NAME", "the inputs of the model are in its metadata", pointer="/inputs")
    if len(given) > len(schemas):
        raise Problem("INPUT_NAME", f"the model has {len(schemas)} inputs, got {len(given)}", pointer="/inputs")
    by_name = {schema.name: schema for schema in schemas}
    read: dict[str, tuple[Input, tensors.Given]] = {}
    for index, value in enumerate(given):
        pointer = f"/inputs/{index}"
        _check_object(value, _INPUT_MEMBERS, pointer)
        schema = by_name.get(_name(value, pointer))
        if schema is None or schema.name in read:
            raise Problem("INPUT_NAME", "no input of this name, or it is there twice", pointer=f"{pointer}/name")
        read[schema.name] = schema, _given(schema, value, frames, max_rows, pointer)
    _check_together(schemas, read)
    frames.end()
    return {name: tensors.tensor(schema, found) for name, (schema, found) in read.items()}


def _check_together(schemas: Sequence[Input], read: Mapping[str, tuple[Input, tensors.Given]]) -> None:
    missing = [schema.name for schema in schemas if schema.name not in read]
    if missing:
        detail = f"{len(missing)} inputs are missing, the first is {missing[0]}"
        raise Problem("INPUT_NAME", detail, pointer="/inputs")
    rows = next(iter(read.values()))[1].rows
    for _, found in read.values():
        if found.rows != rows:
            raise Problem("INPUT_SHAPE", "all inputs need the same number of rows", pointer=f"{found.pointer}/shape")


def _given(
    schema: Input, value: Mapping[str, Any], frames: binary.Frames, max_rows: int, pointer: str
) -> tensors.Given:
    for member in ("datatype", "shape"):
        if member not in value:
            raise Problem("FIELD_MISSING", f"an input needs the member {member}", pointer=f"{pointer}/{member}")
    datatype = tensors.check_datatype(schema, value["datatype"], pointer)
    shape = tensors.check_shape(schema, datatype, value["shape"], max_rows=max_rows, pointer=pointer)
    return tensors.Given(datatype, shape, _data(value, frames, pointer), pointer)


def _data(value: Mapping[str, Any], frames: binary.Frames, pointer: str) -> list[Any] | lift.Floats | memoryview:
    parameters = _parameters(value, pointer)
    size = parameters.get("binary_data_size")
    if size is None:
        data = value.get("data")
        if not isinstance(data, list | np.ndarray):
            raise Problem("FIELD_MISSING", "an input needs data, an array", pointer=f"{pointer}/data")
        return data
    if "data" in value:
        raise Problem("BINARY_FRAME", "an input has either data or binary_data_size", pointer=f"{pointer}/data")
    place = f"{pointer}/parameters/binary_data_size"
    if type(size) is not int or size < 0:
        raise Problem("BINARY_FRAME", "binary_data_size must be a number of bytes", pointer=place)
    return frames.take(size, place)


def _outputs(document: Mapping[str, Any], names: Sequence[str], binary_default: bool) -> tuple[Wanted, ...]:
    """All outputs where none is named."""
    if document.get("outputs") is None:
        return tuple(Wanted(name, binary_default) for name in names)
    given = _list(document, "outputs")
    if len(given) > len(names):
        raise Problem("OUTPUT_NAME", f"the model has {len(names)} outputs, got {len(given)}", pointer="/outputs")
    wanted = [_output(value, f"/outputs/{index}", names, binary_default) for index, value in enumerate(given)]
    if len({one.name for one in wanted}) != len(wanted):
        raise Problem("OUTPUT_NAME", "an output is there twice", pointer="/outputs")
    return tuple(wanted) or tuple(Wanted(name, binary_default) for name in names)


def _output(value: Any, pointer: str, names: Sequence[str], binary_default: bool) -> Wanted:
    _check_object(value, _OUTPUT_MEMBERS, pointer)
    name = _name(value, pointer)
    if name not in names:
        raise Problem("OUTPUT_NAME", f"the outputs are {', '.join(names)}", pointer=f"{pointer}/name")
    parameters = _parameters(value, pointer)
    classes = parameters.get("classification")
    if classes is not None:
        place = f"{pointer}/parameters/classification"
        if type(classes) is not int or not 1 <= classes <= _CLASSES_LIMIT:
            raise Problem("PARAMETER", "classification must be an integer of at least 1", pointer=place)
        if name in {LABEL, OUT_OF_RANGE, NOVELTY, TOP_INDICES, LOG_PARTITION}:
            raise Problem("PARAMETER", "this output has no classes", pointer=place)
    return Wanted(name, _switch(parameters, "binary_data", pointer, default=binary_default), classes)


def _binary_default(document: Mapping[str, Any]) -> bool:
    return _switch(_parameters(document, ""), "binary_data_output", "", default=False)


def _switch(parameters: Mapping[str, Any], name: str, pointer: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Problem("PARAMETER", f"{name} must be true or false", pointer=f"{pointer}/parameters/{name}")
    return value


def _parameters(value: Mapping[str, Any], pointer: str) -> Mapping[str, Any]:
    found = value.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Problem("TYPE", "parameters must be an object", pointer=f"{pointer}/parameters")
    if any(name.startswith("shared_memory") for name in found):
        raise Problem("PARAMETER", "shared memory is not offered", pointer=f"{pointer}/parameters")
    return found


def _name(value: Mapping[str, Any], pointer: str) -> str:
    name = value.get("name")
    if not isinstance(name, str):
        raise Problem("TYPE", "a name, a string, is needed", pointer=f"{pointer}/name")
    return name


def _list(document: Mapping[str, Any], member: str) -> list[Any]:
    if member not in document:
        raise Problem("FIELD_MISSING", f'the body needs the member "{member}"')
    value = document[member]
    if not isinstance(value, list):
        raise Problem("TYPE", f"{member} must be an array", pointer=f"/{member}")
    return value


def _check_object(value: Any, known: Iterable[str], pointer: str) -> None:
    """The pointer names the object: the member's own name is the caller's and is not repeated."""
    if not isinstance(value, dict):
        raise Problem("TYPE", "an object is needed here", pointer=pointer)
    unknown = len(value.keys() - set(known))
    if unknown:
        raise Problem("UNKNOWN_FIELD", f"{unknown} unknown; known are {', '.join(known)}", pointer=pointer)
