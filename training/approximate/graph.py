"""A last layer cut into cells → a graph that scores the classes of the likeliest cells, and estimates the others.

For a row, the sketch of the layer scores all classes roughly, and cells are ranked by their best class in it. The
classes of the first cells are scored exactly. Of every other cell the sum of exp(w·h + b) is taken to be exp of its
best rough score times a number of that cell, which is measured on rows when the graph is made.
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
from training.approximate.cells import PADDING, Floats, Indices
from training.approximate.layer import Layer
from training.approximate.sketch import HIGHEST, Sketch

_NEVER = np.float32(-1e9)
"""The score of a place in a cell that no class takes: exp of it is 0."""

_HIGHEST_POWER = np.float32(80)
"""exp of it is a float32; a rough score may lie above all that were scored exactly."""

_AXES_ARE_INPUTS = 18
_VALUES = 2**25
"""Exact scores that are held at once while cells are measured: 128 MiB."""

_PRIOR = 1e-3
"""Rows' worth of probability by which a cell that was hardly met keeps to what all cells have together."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Classes int64 [C, S] or `PADDING`, and the sketch that ranks them."""

    members: Indices
    sketch: Sketch

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
        """The highest rough score in each cell: float32 [N, H] → [N, C]; the graph does the same."""
        rough = self.sketch.scores(hidden)
        lowest = np.full((len(rough), 1), -np.inf, dtype=np.float32)  # PADDING, the last column
        return np.asarray(np.concatenate([rough, lowest], axis=1)[:, self.members].max(axis=2))


def growth(layer: Layer, cells: Cells, hidden: Floats, *, probed: int) -> Floats:
    """How far the logarithm of a cell's sum of exp(w·h + b) lies above its score, where not probed: float32 [C]."""
    sums, roughs = (np.zeros(len(cells.members)) for _ in range(2))
    rows = max(1, _VALUES // layer.bias.size)
    for start in range(0, len(hidden), rows):
        exact, rough = _shares(layer, cells, hidden[start : start + rows])
        is_far = rough < np.partition(rough, -probed, axis=1)[:, -probed, None]
        sums += (exact * is_far).sum(axis=0)
        roughs += (rough * is_far).sum(axis=0)
    together = sums.sum() / max(roughs.sum(), np.finfo(np.float32).tiny)
    found = (sums + _PRIOR * together) / (roughs + _PRIOR)
    return np.asarray(np.log(np.maximum(found, np.finfo(np.float32).tiny)), dtype=np.float32)


def _shares(layer: Layer, cells: Cells, hidden: Floats) -> tuple[Floats, Floats]:
    """Of the partition sum: each cell's classes together, and its rough score alone; float32 [N, C] each."""
    scores = hidden @ layer.weight.T + layer.bias
    highest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - highest)
    total = powers.sum(axis=1, keepdims=True)
    padded = np.concatenate([powers, np.zeros((len(hidden), 1), dtype=np.float32)], axis=1)
    sums = padded[:, cells.members].sum(axis=2)  # PADDING, the last column
    rough = np.exp(np.minimum(cells.scores(hidden) - highest, _HIGHEST_POWER))
    return np.asarray(sums / total), np.asarray(rough / total)


def build(exact: onnx.ModelProto, layer: Layer, cells: Cells, above: Floats, *, probed: int, k: int) -> bytes:
    """The graph with the outputs of very many classes.

    Args:
        exact: the published graph; what computes the hidden values is taken from it.
        layer: its last layer, after temperature.
        cells: of the layer's classes.
        above: `growth` of the cells.
        probed: cells whose classes are scored.
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
    writer = _Writer(model)
    found = _probe(writer, layer.hidden, cells, probed)
    scores, classes = _score(writer, layer, cells, found)
    values, places = writer.two("TopK", scores, writer.constant(np.array([k])), axis=1)
    highest = writer.one("Slice", values, *(writer.constant(np.array([at])) for at in (0, 1, 1)))
    near = writer.one("ReduceSum", writer.one("Exp", writer.one("Sub", scores, highest)), writer.axis, keepdims=1)
    far = _rest(writer, cells.sketch, above, found, highest=highest)
    partition = writer.one("Add", highest, writer.one("Log", writer.one("Add", near, far)))
    writer.give(TOP_OUTPUTS[0], "GatherElements", classes, places, axis=1)
    writer.give(TOP_OUTPUTS[1], "Exp", writer.one("Sub", values, partition))
    writer.give(TOP_OUTPUTS[2], "Squeeze", partition, writer.axis)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


class _Writer:
    """Adds nodes and constants under names of their own to a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._version = next(one.version for one in model.opset_import if not one.domain)
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

    def highest(self, name: str, axis: int) -> str:
        """Along an axis, which is an input since version 18 of the operators."""
        if self._version < _AXES_ARE_INPUTS:
            return self.one("ReduceMax", name, axes=[axis], keepdims=0)
        return self.one("ReduceMax", name, self.constant(np.array([axis])), keepdims=0)

    def two(self, operator: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        names = self._name(), self._name()
        self._graph.node.append(helper.make_node(operator, list(inputs), list(names), **attributes))
        return names


@dataclass(frozen=True, slots=True)
class _Probed:
    """Names in the graph: each cell's best product of integers, int32 [N, C], and the probed cells, int64 [N, P]."""

    best: str
    cells: str
    count: int


def _probe(writer: _Writer, hidden: str, cells: Cells, probed: int) -> _Probed:
    sketch, (count, size) = cells.sketch, cells.members.shape
    zero = writer.constant(np.uint8(128))
    coordinates = writer.one("Gemm", hidden, writer.constant(sketch.directions.T), writer.constant(sketch.offset))
    integers = writer.one("QuantizeLinear", coordinates, writer.constant(sketch.unit), zero)
    rough = writer.one("MatMulInteger", integers, writer.constant(_in_order(sketch, cells.members).T), zero)
    grouped = writer.one("Reshape", rough, writer.constant(np.array([0, count, size])))
    best = writer.highest(grouped, 2)
    _, found = writer.two("TopK", best, writer.constant(np.array([probed])), axis=1)
    return _Probed(best, found, probed)


def _in_order(sketch: Sketch, members: Indices) -> npt.NDArray[np.int8]:
    """The integers of all places, int8 [C · S, D]; one that no class takes has the lowest bias there is."""
    lowest = np.zeros(sketch.weight.shape[1], dtype=np.int8)
    lowest[-1] = -HIGHEST
    return np.where((members == PADDING).reshape(-1, 1), lowest, sketch.weight[members.reshape(-1)])


def _score(writer: _Writer, layer: Layer, cells: Cells, found: _Probed) -> tuple[str, str]:
    """Scores float32 [N, P · S] of the probed cells' classes, and which classes they are."""
    members, width = cells.members, layer.weight.shape[1]
    is_empty = members == PADDING
    weight = layer.weight[members]
    weight[is_empty] = 0
    bias = np.where(is_empty, _NEVER, layer.bias[members])
    places = found.count * members.shape[1]
    flat = writer.constant(np.array([0, places]))

    def gathered(array: npt.NDArray[Any], shape: str) -> str:
        return writer.one("Reshape", writer.one("Gather", writer.constant(array), found.cells, axis=0), shape)

    block = gathered(weight, writer.constant(np.array([0, places, width])))
    column = writer.one("Unsqueeze", layer.hidden, writer.constant(np.array([2])))
    products = writer.one("Squeeze", writer.one("MatMul", block, column), writer.constant(np.array([2])))
    return writer.one("Add", products, gathered(bias, flat)), gathered(np.maximum(members, 0), flat)


def _rest(writer: _Writer, sketch: Sketch, above: Floats, found: _Probed, *, highest: str) -> str:
    """The estimated sum of exp(score - highest) over all classes of other cells: [N, 1]."""
    rough = writer.one(
        "Mul", writer.one("Cast", found.best, to=TensorProto.FLOAT), writer.constant(np.float32(sketch.step))
    )
    sums = writer.one("Add", rough, writer.constant(above + np.float32(sketch.shift)))
    over = writer.one("Min", writer.one("Sub", sums, highest), writer.constant(_HIGHEST_POWER))
    powers = writer.one("Exp", over)
    near = writer.one("GatherElements", powers, found.cells, axis=1)
    total, known = (writer.one("ReduceSum", one, writer.axis, keepdims=1) for one in (powers, near))
    return writer.one("Max", writer.one("Sub", total, known), writer.constant(np.float32(0)))
