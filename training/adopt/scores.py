"""What a graph answers on probes, and its last operators → where its logits are, without a second softmax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from clipmax.imported import Scores
from clipmax.inputs import Tensor
from clipmax.refusal import Refusal, shorten
from training.adopt.source import Source

Floats = npt.NDArray[np.float64]

_WHERE = "model"
_SUM_TOLERANCE = 1e-4
_EDGE = 1e-6
_FLOOR = float(np.finfo(np.float32).eps)
_FLOOR_TOGETHER = 1e-6
"""What the floors of all classes of a row may add up to: a tenth of the parity that is asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the logits come from.

    Args:
        output: the output of the file.
        value: the value inside the graph that they are computed from: the output, or what its softmax was given.
        scores: what `value` is.
        columns: of `value`: K, or 1 where two labels share one score, that of the second.
        floor: of probabilities before their logarithm.
    """

    output: str
    value: str
    scores: Scores
    columns: int
    floor: float | None = None


def choose(source: Source, found: Mapping[str, Tensor], labels: int, name: str | None) -> str:
    """The output that holds a score a label: of [N, K], or [N, 1] for two labels.

    Args:
        source: the file.
        found: output name → what it was on some rows.
        labels: how many there are.
        name: the one that was asked for, None to find it.

    Raises:
        Refusal: none, several, or another number of classes than labels.
    """
    names = [value.name for value in source.model.graph.output]
    if name is not None and name not in names:
        raise Refusal(_WHERE, "output", expected=f"one of {shorten(', '.join(names))}", found=shorten(name))
    scores = {one: value for one, value in found.items() if value.ndim == 2 and value.dtype.kind == "f"}
    widths = {one: value.shape[1] for one, value in scores.items() if name in {None, one}}
    fitting = [one for one, width in widths.items() if width == labels or (width, labels) == (1, 2)]
    if not fitting:
        shown = ", ".join(f"{shorten(one)} [N, {width}]" for one, width in widths.items()) or "no output of [N, K]"
        raise Refusal(_WHERE, "classes", expected=f"{labels}, one a label", found=shown)
    if len(fitting) > 1:
        expected = "one that fits, or its name as --output"
        raise Refusal(_WHERE, "output", expected=expected, found=shorten(", ".join(fitting)))
    return fitting[0]


def locate(source: Source, output: str, values: Tensor) -> Answer:
    """What an output is, by its values on probes and by the operator that it comes from.

    Shape: values float [rows, K or 1].

    Raises:
        Refusal: independent sigmoids, or values that could be either.
    """
    columns = values.shape[1]
    last = _last_operator(source.model.graph, output)
    numeric = _numeric(values.astype(np.float64))
    if last is not None and last.op_type == "Sigmoid" and columns == 1:
        return Answer(output, last.input[0], "logits", columns)
    if last is not None and last.op_type == "Sigmoid":
        found = "each label's own sigmoid: several labels a row"
        raise Refusal(_WHERE, "output", expected="probabilities that sum to 1, or logits", found=found)
    if last is not None and _is_softmax(last) and numeric == "probabilities":
        return Answer(output, last.input[0], "logits", columns)
    if numeric is None:
        found = "values between 0 and 1 that do not sum to 1"
        raise Refusal(_WHERE, "output", expected="probabilities that sum to 1, or logits", found=found)
    floor = min(_FLOOR, _FLOOR_TOGETHER / columns) if numeric == "probabilities" else None
    return Answer(output, output, numeric, columns, floor)


def probabilities(answer: Answer, output: Tensor, value: Tensor) -> Floats:
    """The file's own probabilities, in float64 and summing to 1: [N, K] or [N, 1] → [N, K], [N, 2]."""
    if answer.value == answer.output and answer.scores != "probabilities":
        return softmax(logits(answer, value))
    found = output.astype(np.float64)
    if answer.columns == 1:
        return np.concatenate([1.0 - found, found], axis=1)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def logits(answer: Answer, value: Tensor) -> Floats:
    """What the built graph computes from the value, in float64: [N, K] or [N, 1] → [N, K], [N, 2]."""
    found = value.astype(np.float64)
    if answer.floor is not None:
        return np.log(np.maximum(found, answer.floor))
    return np.concatenate([np.zeros_like(found), found], axis=1) if answer.columns == 1 else found


def softmax(logits: Floats) -> Floats:
    """Shifted by the true maximum of each row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def changes(answer: Answer) -> tuple[str, ...]:
    """What is done with the output, in words."""
    if answer.value != answer.output:
        return ("its last softmax or sigmoid was taken off, for there is one after the temperature",)
    if answer.scores == "probabilities":
        return (f"logits are the logarithms of its probabilities, of at least {answer.floor:.3g}",)
    return ()


def _numeric(values: Floats) -> Scores | None:
    """By the values alone; None where they could be logits as well as something else."""
    if values.min() < -_EDGE and values.max() <= _EDGE and _sum_to_one(np.exp(values)):
        return "log probabilities"
    if values.min() < -_EDGE or values.max() > 1.0 + _EDGE:
        return "logits"
    return "probabilities" if _sum_to_one(values) else None


def _sum_to_one(values: Floats) -> bool:
    return values.shape[1] > 1 and bool((np.abs(values.sum(axis=1) - 1.0) <= _SUM_TOLERANCE).all())


def _last_operator(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """What makes a value, behind casts and copies of it."""
    makers = {output: node for node in graph.node for output in node.output}
    while name in makers and makers[name].op_type in {"Identity", "Cast"}:
        name = makers[name].input[0]
    return makers.get(name)


def _is_softmax(node: onnx.NodeProto) -> bool:
    """Over the last of two axes, which is what every version of the operator does by default."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
    return node.op_type == "Softmax" and node.domain in {"", "ai.onnx"} and axis in {1, -1}
