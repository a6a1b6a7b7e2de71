"""An exported graph of many classes → its last layer, taken out: what enters it, its weight and its bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from clipmax.refusal import Refusal
from training import answers

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """Scores = hidden · weightᵀ + bias.

    Attributes:
        hidden: the name in the graph of what enters it, float32 [N, H].
        weight: float32 [K, H].
        bias: float32 [K].
    """

    hidden: str
    weight: Floats
    bias: Floats


def find(model: onnx.ModelProto, classes: int, *, where: Path) -> Layer:
    """The one product of a matrix of constants that gives K numbers a row.

    Raises:
        Refusal: there is none, or several.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    widths = {value.name: _width(value) for value in (*graph.value_info, *graph.output)}
    found = [node for node in graph.node if node.op_type in _KINDS and widths.get(node.output[0]) == classes]
    if len(found) != 1:
        expected = f"one last layer, h·W + b of {classes} classes"
        raise Refusal(where, "graph", expected=expected, found=f"{len(found)} of them")
    return (_of_gemm if found[0].op_type == "Gemm" else _of_matmul)(model, found[0], classes)


def pruned(model: onnx.ModelProto, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """The part of a graph that these values need, with them as its outputs."""
    graph = model.graph
    needed, nodes = {one.name for one in outputs}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= _inputs(node)
    kept = helper.make_graph(
        nodes[::-1],
        graph.name,
        list(graph.input),
        list(outputs),
        [one for one in graph.initializer if one.name in needed],
    )
    return helper.make_model(kept, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """A float32 value of a graph."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


_KINDS = {"Gemm", "MatMul"}


def _width(given: onnx.ValueInfoProto) -> int:
    """The last axis, where it is known; else 0."""
    axes = given.type.tensor_type.shape.dim
    return axes[-1].dim_value if axes else 0


def _inputs(node: onnx.NodeProto) -> set[str]:
    """Also those that a branch of it takes from outside."""
    inner = [one for attribute in node.attribute for one in attribute.g.node]
    return set(node.input).union(*map(_inputs, inner))


def _of_gemm(model: onnx.ModelProto, node: onnx.NodeProto, classes: int) -> Layer:
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    scale = np.float32(attributes.get("alpha", 1.0))
    weight = scale * _constant(model, node.input[1])
    bias = np.zeros(classes, dtype=np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = np.float32(attributes.get("beta", 1.0)) * _constant(model, node.input[2])
    return Layer(node.input[0], weight if attributes.get("transB", 0) else weight.T, bias.reshape(-1))


def _of_matmul(model: onnx.ModelProto, node: onnx.NodeProto, classes: int) -> Layer:
    weight = _constant(model, node.input[1])
    adds = [one for one in model.graph.node if one.op_type == "Add" and node.output[0] in one.input]
    bias = np.zeros(classes, dtype=np.float32)
    if len(adds) == 1:
        other = next(name for name in adds[0].input if name != node.output[0])
        if not _is_computed(model, other):
            bias = _constant(model, other).reshape(-1)
    return Layer(node.input[0], weight.T, bias)


def _is_computed(model: onnx.ModelProto, name: str) -> bool:
    """Whether it depends on what a caller gives."""
    part = pruned(model, [value(name)])
    needed = {one for node in part.graph.node for one in _inputs(node)} | {name}
    return any(one.name in needed for one in model.graph.input)


def _constant(model: onnx.ModelProto, name: str) -> Floats:
    """A stored tensor, or one that the graph makes of stored ones."""
    for one in model.graph.initializer:
        if one.name == name:
            return np.asarray(numpy_helper.to_array(one), dtype=np.float32)
    part = pruned(model, [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
    del part.graph.input[:]
    (found,) = answers.session(part.SerializeToString()).run([name], {})
    return np.asarray(found, dtype=np.float32)
