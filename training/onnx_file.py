"""A torch module → an ONNX graph of standard operators, with nothing in it about the machine that made it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch.onnx import ONNXProgram

from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal

OPSET = 20

_LARGE = 1024 * 1024
"""Bytes of a weight from which on it is written from where it lies."""

# Field numbers of onnx.proto, and how protobuf marks a value of so many bytes.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9
_BYTES = 2


@dataclass(frozen=True, slots=True)
class Graph:
    """An exported graph; its large weights are still those of the module and exist once.

    Args:
        skeleton: in which the last initializers have a name, a type and a shape, but no values.
        weights: the values of those.
    """

    skeleton: onnx.ModelProto
    weights: Sequence[npt.NDArray[Any]]

    def write(self, path: Path) -> None:
        """The whole graph as one file, without a copy of a large weight."""
        with path.open("wb") as file:
            self._write(file)

    def content(self) -> bytes:
        """What `write` writes."""
        buffer = BytesIO()
        self._write(buffer)
        return buffer.getvalue()

    def _write(self, file: BinaryIO) -> None:
        """Field after field; in a protobuf message they may stand in any order."""
        model, graph = onnx.ModelProto(), onnx.GraphProto()
        model.CopyFrom(self.skeleton)
        graph.CopyFrom(model.graph)
        model.ClearField("graph")
        small = len(graph.initializer) - len(self.weights)
        heads = [_before(about, values) for about, values in zip(graph.initializer[small:], self.weights, strict=True)]
        del graph.initializer[small:]
        rest = graph.SerializeToString()
        length = len(rest) + sum(map(len, heads)) + sum(values.nbytes for values in self.weights)
        file.write(model.SerializeToString() + _head(_MODEL_GRAPH, length) + rest)
        for head, values in zip(heads, self.weights, strict=True):
            file.write(head)
            file.write(values.data)


def _before(about: onnx.TensorProto, values: npt.NDArray[Any]) -> bytes:
    """An initializer as a field of its graph, up to where its values begin."""
    content: bytes = about.SerializeToString() + _head(_TENSOR_RAW_DATA, values.nbytes)
    return _head(_GRAPH_INITIALIZER, len(content) + values.nbytes) + content


def _head(field: int, length: int) -> bytes:
    """What protobuf writes before a value of so many bytes."""
    return _varint(field << 3 | _BYTES) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have their top bit set."""
    digits = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


def export(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    free_axes: tuple[Any, ...],
) -> Graph:
    """The graph of a module, no external data.

    Args:
        module: in evaluation mode; its weights must stay as they are until the graph is written.
        example: inputs of two rows.
        inputs: their names.
        outputs: theirs.
        free_axes: of each input the axes without a fixed size, as `torch.export` takes them.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision, unused here, is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own deprecated internals
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=free_axes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101  # dynamo=True always returns a program
    graph = _apart(program)
    _drop_traces(graph.skeleton)
    return graph


def check(graph: bytes | Path) -> None:
    """Refuse a graph that is not valid, or uses more than standard operators.

    Args:
        graph: the bytes of a file, or its path; by its path a file takes twice its size of memory.
    """
    onnx.checker.check_model(graph, full_check=True)
    model = onnx.load(graph) if isinstance(graph, Path) else onnx.load_from_string(graph)
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    if foreign or model.functions:
        raise Refusal(MODEL_FILE, "operators", expected="standard ONNX", found=", ".join(foreign) or "functions")


def _apart(program: ONNXProgram) -> Graph:
    """Large weights come out of the program before it is serialized, which would copy them."""
    initializers = program.model.graph.initializers
    values = {name: value.const_value for name, value in initializers.items()}
    tensors = {name: tensor for name, tensor in values.items() if tensor is not None and tensor.nbytes >= _LARGE}
    for name in tensors:
        initializers.pop(name)
    skeleton = program.model_proto
    for name, tensor in tensors.items():
        skeleton.graph.initializer.add(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
    return Graph(skeleton, [np.ascontiguousarray(tensor.numpy()) for tensor in tensors.values()])


def _drop_traces(model: onnx.ModelProto) -> None:
    """Take the exporter's notes out of the graph: each node carries stack traces with this machine's folders."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
