"""The bytes of an ONNX file → what in them must not be served: custom operators, and weights in other places.

onnxruntime would resolve external data of a model given as bytes in the working directory, and it carries
operator domains that other runtimes lack. Both are seen in the file's outermost protobuf fields, so those few
are walked here and the `onnx` package stays out of the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clipmax.files import FileRecord
from clipmax.manifest import DATA_FILE
from clipmax.refusal import Refusal

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
_GRAPH_NODES, _GRAPH_INITIALIZERS, _GRAPH_SPARSE = 1, 5, 15
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_NODE_ATTRIBUTES = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Value = int | memoryview


def check(content: bytes, *, where: Path, data: FileRecord | None = None) -> None:
    """Refuse a model that names a custom operator domain or keeps weights where the manifest knows of none.

    Args:
        content: of `model.onnx`.
        where: its path, for messages.
        data: of the one file beside it, `model.onnx.data`, in which weights may lie; None: they may not.

    Raises:
        Refusal: also where the bytes are no protobuf message at all.
    """
    try:
        _Check(where, data).model(memoryview(content))
    except (ValueError, IndexError) as error:
        raise Refusal(where, "document", expected="an ONNX model", found="other bytes") from error


@dataclass(frozen=True, slots=True)
class _Check:
    """One walk over a model, part by part."""

    where: Path
    data: FileRecord | None

    def model(self, model: memoryview) -> None:
        for number, value in _fields(model):
            if number == _MODEL_OPSETS:
                self.domain(_message(value))
            elif number == _MODEL_FUNCTIONS:
                raise Refusal(self.where, "functions", expected="none", found="a model-local function")
            elif number == _MODEL_GRAPH:
                self.graph(_message(value))

    def domain(self, opset: memoryview) -> None:
        for number, value in _fields(opset):
            if number != _OPSET_DOMAIN:
                continue
            domain = bytes(_message(value)).decode()
            if domain not in STANDARD_DOMAINS:
                expected = "standard ONNX operators"
                raise Refusal(self.where, "opset_import", expected=expected, found=f"domain {domain}")

    def graph(self, graph: memoryview) -> None:
        for number, value in _fields(graph):
            if number == _GRAPH_INITIALIZERS:
                self.tensor(_message(value))
            elif number == _GRAPH_SPARSE:
                self.sparse(_message(value))
            elif number == _GRAPH_NODES:
                for inner, attribute in _fields(_message(value)):
                    if inner == _NODE_ATTRIBUTES:
                        self.attribute(_message(attribute))

    def attribute(self, attribute: memoryview) -> None:
        for number, value in _fields(attribute):
            if number in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
                self.tensor(_message(value))
            elif number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
                self.graph(_message(value))
            elif number in {_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES}:
                self.sparse(_message(value))

    def sparse(self, tensor: memoryview) -> None:
        for number, value in _fields(tensor):
            if number in {_SPARSE_VALUES, _SPARSE_INDICES}:
                self.tensor(_message(value))

    def tensor(self, tensor: memoryview) -> None:
        entries: dict[str, str] = {}
        is_external = False
        for number, value in _fields(tensor):
            is_external |= number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and bool(value))
            if number == _TENSOR_EXTERNAL_DATA:
                _note(entries, _message(value))
        if is_external:
            self.place(entries)

    def place(self, entries: Mapping[str, str]) -> None:
        """Only in the one file, by its bare name, and inside it."""
        if self.data is None:
            raise Refusal(self.where, "initializers", expected="all weights inside the file", found="external data")
        if entries.get("location") != DATA_FILE:
            raise Refusal(self.where, "initializers", expected=f"external data in {DATA_FILE}", found="another place")
        start, length = (_size(entries.get(key, "0")) for key in ("offset", "length"))
        if start + length > self.data.bytes:
            expected = f"external data within {self.data.bytes} bytes"
            raise Refusal(self.where, "initializers", expected=expected, found=f"{start + length}")


def _note(entries: dict[str, str], entry: memoryview) -> None:
    """A key and its value; a key that is there twice could be read in two ways."""
    found = {number: bytes(_message(value)).decode() for number, value in _fields(entry)}
    key = found.get(_ENTRY_KEY, "")
    if key in entries:
        raise ValueError("a key twice")
    entries[key] = found.get(_ENTRY_VALUE, "")


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a number of bytes")
    return int(text)


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
