"""The bytes of an ONNX file → what in them must not be served: custom operators and external data.

onnxruntime would resolve external data of a model given as bytes in the working directory, and it carries
operator domains that other runtimes lack. Both are seen in the file's outermost protobuf fields, so those few
are walked here and the `onnx` package stays out of the service.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipmax.refusal import Refusal

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
_GRAPH_NODES, _GRAPH_INITIALIZERS = 1, 5
_NODE_ATTRIBUTES = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Value = int | memoryview


def check(content: bytes, *, where: Path) -> None:
    """Refuse a model that names a custom operator domain or keeps weights outside its file.

    Raises:
        Refusal: also where the bytes are no protobuf message at all.
    """
    try:
        _check(memoryview(content), where)
    except (ValueError, IndexError) as error:
        raise Refusal(where, "document", expected="an ONNX model", found="other bytes") from error


def _check(model: memoryview, where: Path) -> None:
    for number, value in _fields(model):
        if number == _MODEL_OPSETS:
            _check_domain(_message(value), where)
        elif number == _MODEL_FUNCTIONS:
            raise Refusal(where, "functions", expected="none", found="a model-local function")
        elif number == _MODEL_GRAPH:
            _check_graph(_message(value), where)


def _check_domain(opset: memoryview, where: Path) -> None:
    for number, value in _fields(opset):
        if number != _OPSET_DOMAIN:
            continue
        domain = bytes(_message(value)).decode()
        if domain not in STANDARD_DOMAINS:
            raise Refusal(where, "opset_import", expected="standard ONNX operators", found=f"domain {domain}")


def _check_graph(graph: memoryview, where: Path) -> None:
    for number, value in _fields(graph):
        if number == _GRAPH_INITIALIZERS:
            _check_tensor(_message(value), where)
        elif number == _GRAPH_NODES:
            for inner, attribute in _fields(_message(value)):
                if inner == _NODE_ATTRIBUTES:
                    _check_attribute(_message(attribute), where)


def _check_attribute(attribute: memoryview, where: Path) -> None:
    for number, value in _fields(attribute):
        if number in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
            _check_tensor(_message(value), where)
        elif number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
            _check_graph(_message(value), where)


def _check_tensor(tensor: memoryview, where: Path) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value):
            raise Refusal(where, "initializers", expected="all weights inside the file", found="external data")


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a message is length-delimited")  # noqa: TRY004  # for a caller it is a bad document
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Field number and value of each field of one protobuf message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _varint(message, position)
        elif wire_type in {_FIXED64, _FIXED32}:
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError("an unknown wire type")
        if position + size > len(message):
            raise ValueError("a field longer than its message")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number at `position` and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint of more than ten bytes")
