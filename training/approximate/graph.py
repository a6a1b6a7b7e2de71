"""A last layer cut into cells → a graph that scores the classes of the likeliest cells, and estimates the others.

For a row h the cells are ranked by the mean of w·h + b over a cell's classes plus half its variance along h, which is
the logarithm of the mean of exp(w·h + b) where that is normal; a cell's covariance is kept as its diagonal. The classes
of the first cells are scored exactly. The rest of the partition sum is the mean over classes drawn at random once, when
the graph is made, of which those in the first cells do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from clipmax.manifest import TOP_OUTPUTS
from training.approximate import layer as layers
from training.approximate.cells import PADDING
from training.approximate.layer import Layer

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_NEVER = np.float32(-1e9)
"""The score of a place in a cell that no class takes: exp of it is 0."""

_HIGHEST_POWER = np.float32(80)
"""exp of it is a float32; a drawn class may lie above all that were scored."""


@dataclass(frozen=True, slots=True)
class Cells:
    """What the graph knows of each cell: members int64 [C, S], and the means and variances of w, [C, H], and b, [C]."""

    members: Indices
    mean: Floats
    variance: Floats
    bias_mean: Floats
    bias_variance: Floats

    @property
    def sizes(self) -> Indices:
        """Classes in each cell: int64 [C]."""
        return np.asarray((self.members != PADDING).sum(axis=1))

    @property
    def of_class(self) -> Indices:
        """The cell of each class: int64 [K]."""
        found = np.empty(self.sizes.sum(), dtype=np.int64)
        cell, column = np.nonzero(self.members != PADDING)
        found[self.members[cell, column]] = cell
        return found

    def scores(self, hidden: Floats) -> Floats:
        """How likely it is that a row's classes are in each cell: float32 [N, H] → [N, C]; the graph does the same."""
        spread = 0.5 * (np.square(hidden) @ self.variance.T + self.bias_variance)
        return np.asarray(hidden @ self.mean.T + self.bias_mean + spread, dtype=np.float32)


def measure(layer: Layer, members: Indices) -> Cells:
    """Means and variances of the cells' classes."""
    rows = [cell[cell != PADDING] for cell in members]
    return Cells(
        members,
        np.stack([layer.weight[one].mean(axis=0) for one in rows]),
        np.stack([layer.weight[one].var(axis=0) for one in rows]),
        np.array([layer.bias[one].mean() for one in rows], dtype=np.float32),
        np.array([layer.bias[one].var() for one in rows], dtype=np.float32),
    )


def build(exact: onnx.ModelProto, layer: Layer, cells: Cells, *, probed: int, drawn: Indices, k: int) -> bytes:
    """The graph with the outputs of very many classes.

    Args:
        exact: the published graph; what computes the hidden values is taken from it.
        layer: its last layer, after temperature.
        cells: of the layer's classes.
        probed: cells whose classes are scored.
        drawn: int64 [m] classes that stand for the rest, at least one.
        k: classes that are answered.
    """
    model = layers.pruned(exact, [layers.value(layer.hidden, "N", layer.weight.shape[1])])
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info(TOP_OUTPUTS[0], TensorProto.INT64, ["N", k]),
            layers.value(TOP_OUTPUTS[1], "N", k),
            layers.value(TOP_OUTPUTS[2], "N"),
        ]
    )
    writer = _Writer(model.graph)
    found = _probe(writer, layer.hidden, cells, probed)
    scores, classes = _score(writer, layer, cells, found)
    values, places = writer.two("TopK", scores, writer.constant(np.array([k])), axis=1)
    highest = writer.one("Slice", values, *(writer.constant(np.array([at])) for at in (0, 1, 1)))
    near = writer.one("ReduceSum", writer.one("Exp", writer.one("Sub", scores, highest)), writer.axis, keepdims=1)
    far = _rest(writer, layer, cells, found, drawn=drawn, highest=highest)
    partition = writer.one("Add", highest, writer.one("Log", writer.one("Add", near, far)))
    writer.give(TOP_OUTPUTS[0], "GatherElements", classes, places, axis=1)
    writer.give(TOP_OUTPUTS[1], "Exp", writer.one("Sub", values, partition))
    writer.give(TOP_OUTPUTS[2], "Squeeze", partition, writer.axis)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


class _Writer:
    """Adds nodes and constants under names of their own to a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._count = 0
        self.axis = self.constant(np.array([1]))

    def _name(self) -> str:
        self._count += 1
        return f"two_stage.{self._count}"

    def constant(self, array: npt.NDArray[Any] | np.generic) -> str:
        name = self._name()
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def give(self, name: str, operator: str, *inputs: str, **attributes: Any) -> str:
        self._graph.node.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.give(self._name(), operator, *inputs, **attributes)

    def two(self, operator: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        names = self._name(), self._name()
        self._graph.node.append(helper.make_node(operator, list(inputs), list(names), **attributes))
        return names


@dataclass(frozen=True, slots=True)
class _Probed:
    """Names in the graph: the cells that are probed [N, P], and 1 for each of them among all, else 0 [N, C]."""

    cells: str
    flags: str
    count: int


def _probe(writer: _Writer, hidden: str, cells: Cells, probed: int) -> _Probed:
    squares = writer.one("Mul", hidden, hidden)
    means = writer.one("MatMul", hidden, writer.constant(cells.mean.T))
    spreads = writer.one("MatMul", squares, writer.constant(0.5 * cells.variance.T))
    offset = writer.constant(cells.bias_mean + 0.5 * cells.bias_variance)
    scores = writer.one("Add", writer.one("Add", means, spreads), offset)
    _, found = writer.two("TopK", scores, writer.constant(np.array([probed])), axis=1)
    zeros = writer.one("ConstantOfShape", writer.one("Shape", scores), value=_filled(0))
    ones = writer.one("ConstantOfShape", writer.one("Shape", found), value=_filled(1))
    return _Probed(found, writer.one("ScatterElements", zeros, found, ones, axis=1), probed)


def _score(writer: _Writer, layer: Layer, cells: Cells, found: _Probed) -> tuple[str, str]:
    """Scores float32 [N, P · S] of the probed cells' classes, and which classes they are."""
    members, width = cells.members, layer.weight.shape[1]
    is_empty = members == PADDING
    weight = np.where(is_empty[:, :, None], np.float32(0), layer.weight[members])
    bias = np.where(is_empty, _NEVER, layer.bias[members])
    places = found.count * members.shape[1]
    flat = writer.constant(np.array([0, places]))

    def gathered(array: npt.NDArray[Any], shape: str) -> str:
        return writer.one("Reshape", writer.one("Gather", writer.constant(array), found.cells, axis=0), shape)

    block = gathered(weight, writer.constant(np.array([0, places, width])))
    column = writer.one("Unsqueeze", layer.hidden, writer.constant(np.array([2])))
    products = writer.one("Squeeze", writer.one("MatMul", block, column), writer.constant(np.array([2])))
    return writer.one("Add", products, gathered(bias, flat)), gathered(np.maximum(members, 0), flat)


def _rest(writer: _Writer, layer: Layer, cells: Cells, found: _Probed, *, drawn: Indices, highest: str) -> str:
    """The sum of exp(score - highest) over all classes of other cells, estimated from the drawn ones: [N, 1]."""
    is_near = writer.one("Gather", found.flags, writer.constant(cells.of_class[drawn]), axis=1)
    is_far = writer.one("Sub", writer.constant(np.float32(1)), is_near)
    scores = writer.one(
        "Gemm", layer.hidden, writer.constant(layer.weight[drawn].T), writer.constant(layer.bias[drawn])
    )
    above = writer.one("Min", writer.one("Sub", scores, highest), writer.constant(_HIGHEST_POWER))
    powers = writer.one("Mul", writer.one("Exp", above), is_far)
    total, count = (writer.one("ReduceSum", one, writer.axis, keepdims=1) for one in (powers, is_far))
    sizes = writer.one("Gather", writer.constant(cells.sizes.astype(np.float32)), found.cells, axis=0)
    known = writer.one("ReduceSum", sizes, writer.axis, keepdims=1)
    others = writer.one("Sub", writer.constant(np.float32(len(layer.bias))), known)
    mean = writer.one("Div", total, writer.one("Max", count, writer.constant(np.float32(1))))
    return writer.one("Mul", mean, others)


def _filled(number: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([number], dtype=np.float32))
