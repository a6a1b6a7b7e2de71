"""The data inputs of another tool's graph → the inputs that a client of ours has, and the way from these to those.

Rows of numbers become one input a column; images become pixels of 0 to 255, however the graph wants them laid out.
What stands before the graph is stated twice, as ONNX nodes and in numpy, and the checks compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from clipmax.inputs import ImageInput, Input, NumberInput, Tensor
from clipmax.refusal import Refusal, shorten

INSIDE = "inside/"
"""Begins the names of values that are ours."""
FILE = "file/"
"""Begins the names of values that were in the file."""
MOST_COLUMNS = 1024
RESERVED = frozenset({"logits", "probabilities", "novelty"})
_WHERE = "model"
_WHITE = 255.0
_FLOATS: Mapping[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a graph does not say about its inputs.

    Args:
        columns: names of the columns, in the graph's order.
        image: height and width, and 3 for rgb, of a graph that takes flat pixels.
        pixels: what 0 and 255 become for the graph, as (0.0, 1.0).
    """

    columns: tuple[str, ...] = ()
    image: tuple[int, ...] = ()
    pixels: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What is put before the file's graph."""

    inputs: tuple[onnx.ValueInfoProto, ...]
    nodes: tuple[onnx.NodeProto, ...]
    constants: tuple[TensorProto, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """One data input of the file: its name, numpy dtype, and shape behind the rows."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def onnx_type(self) -> int:
        return next(number for number, name in _FLOATS.items() if name == self.dtype)


class Entrance(Protocol):
    """From a client's inputs to the file's."""

    def schemas(self, limit: float) -> tuple[Input, ...]:
        """What the manifest says; numbers are clipped to ± `limit`."""
        ...

    def parts(self, limit: float) -> Parts: ...

    def feeds(self, tensors: Mapping[str, Tensor], limit: float) -> dict[str, Tensor]:
        """What the nodes of `parts` compute, in numpy: our tensors by name → the file's by name."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Numbers, one input a column, none of which may be missing."""

    taken: tuple[Taken, ...]
    names: tuple[str, ...]

    def schemas(self, limit: float) -> tuple[Input, ...]:
        bound = float(np.float32(limit))
        return tuple(NumberInput(name=name, minimum=-bound, maximum=bound, required=True) for name in self.names)

    def parts(self, limit: float) -> Parts:
        inputs = tuple(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in self.names)
        nodes: list[onnx.NodeProto] = []
        for place, (one, names) in enumerate(self._groups()):
            value = f"{INSIDE}columns {place}"
            nodes += [
                helper.make_node("Concat", list(names), [value], axis=1),
                *_clipped(value, f"{value} clipped"),
                helper.make_node("Cast", [f"{value} clipped"], [FILE + one.name], to=one.onnx_type),
            ]
        return Parts(inputs, tuple(nodes), _ends(-limit, limit))

    def feeds(self, tensors: Mapping[str, Tensor], limit: float) -> dict[str, Tensor]:
        bound = np.float32(limit)
        return {
            one.name: np.clip(np.concatenate([tensors[name] for name in names], axis=1), -bound, bound).astype(
                one.dtype
            )
            for one, names in self._groups()
        }

    def _groups(self) -> list[tuple[Taken, tuple[str, ...]]]:
        """Each of the file's inputs with its columns."""
        ends = np.cumsum([one.shape[0] for one in self.taken]).tolist()
        starts = [0, *ends[:-1]]
        places = zip(self.taken, starts, ends, strict=True)
        return [(one, self.names[start:end]) for one, start, end in places]


@dataclass(frozen=True, slots=True)
class Pixels:
    """One image a row.

    Args:
        taken: the file's input, whose shape is the pixels' in any layout.
        shape: (height, width) or (height, width, 3).
        pixels: what 0 and 255 become.
        channels_first: whether the file wants [3, height, width].
    """

    taken: Taken
    shape: tuple[int, ...]
    pixels: tuple[float, float]
    channels_first: bool

    name = "image"

    def schemas(self, limit: float) -> tuple[Input, ...]:
        del limit
        return (ImageInput(name=self.name, shape=self.shape),)

    def parts(self, limit: float) -> Parts:
        del limit
        names = [f"{INSIDE}{step}" for step in ("clipped", "divided", "scaled", "turned", "laid out")]
        clipped, divided, scaled, turned, laid_out = names
        order = [0, 3, 1, 2] if self.channels_first else list(range(len(self.shape) + 1))
        nodes = (
            *_clipped(self.name, clipped),
            helper.make_node("Div", [clipped, f"{INSIDE}divisor"], [divided]),
            helper.make_node("Add", [divided, f"{INSIDE}black"], [scaled]),
            helper.make_node("Transpose", [scaled], [turned], perm=order),
            helper.make_node("Reshape", [turned, f"{INSIDE}shape"], [laid_out]),
            helper.make_node("Cast", [laid_out], [FILE + self.taken.name], to=self.taken.onnx_type),
        )
        constants = (
            *_ends(0.0, _WHITE),
            _constant("divisor", self._divisor),
            _constant("black", np.float32(self.pixels[0])),
            _constant("shape", np.array([0, *self.taken.shape])),  # 0: as many rows as there are
        )
        given = helper.make_tensor_value_info(self.name, TensorProto.FLOAT, ["N", *self.shape])
        return Parts((given,), nodes, constants)

    def feeds(self, tensors: Mapping[str, Tensor], limit: float) -> dict[str, Tensor]:
        del limit
        scaled = np.clip(tensors[self.name], 0.0, _WHITE) / self._divisor + np.float32(self.pixels[0])
        turned = np.moveaxis(scaled, -1, 1) if self.channels_first else scaled
        return {self.taken.name: turned.reshape(len(turned), *self.taken.shape).astype(self.taken.dtype)}

    @property
    def _divisor(self) -> np.float32:
        return np.float32(_WHITE / (self.pixels[1] - self.pixels[0]))


def describe(inputs: Sequence[onnx.ValueInfoProto], options: Options) -> Entrance:
    """The inputs as clients will have them.

    Raises:
        Refusal: inputs that are neither rows of numbers nor one image; columns or pixels that are not described.
    """
    taken = tuple(_taken(value) for value in inputs)
    if len(taken) == 1 and (len(taken[0].shape) > 1 or options.image):
        return _pixels(taken[0], options)
    return _rows(taken, options)


def _taken(value: onnx.ValueInfoProto) -> Taken:
    kind = value.type.tensor_type
    field = f"input {shorten(value.name)}"
    if kind.elem_type not in _FLOATS:
        found = TensorProto.DataType.Name(kind.elem_type)
        raise Refusal(_WHERE, field, expected="numbers with a fraction (float32, float64 or float16)", found=found)
    shape = tuple(dimension.dim_value for dimension in kind.shape.dim[1:])
    if not shape or min(shape) < 1:
        expected = "a fixed size for every axis but the rows'"
        raise Refusal(_WHERE, field, expected=expected, found=str([size or "?" for size in shape]))
    return Taken(value.name, _FLOATS[kind.elem_type], shape)


def _rows(taken: tuple[Taken, ...], options: Options) -> Rows:
    for one in taken:
        if len(one.shape) != 1:
            expected = "[N, columns], or one image as the only input"
            raise Refusal(_WHERE, f"input {shorten(one.name)}", expected=expected, found=f"[N, {_text(one.shape)}]")
    count = sum(one.shape[0] for one in taken)
    if count > MOST_COLUMNS:
        expected = f"at most {MOST_COLUMNS}, or pixels that are described by --image"
        raise Refusal(_WHERE, "columns", expected=expected, found=str(count))
    names = _names(taken, options.columns, count)
    _check_names(names)
    return Rows(taken, names)


def _names(taken: Sequence[Taken], given: tuple[str, ...], count: int) -> tuple[str, ...]:
    """The file's own names where it has one a column, else those given, else x1, x2, …."""
    own = tuple(one.name for one in taken)
    if len(taken) > 1 and len(own) == count and (not given or set(own) <= set(given)):
        return own
    if given and len(given) != count:
        raise Refusal(_WHERE, "columns", expected=f"{len(given)}, as are named", found=str(count))
    return given or tuple(f"x{place}" for place in range(1, count + 1))


def _check_names(names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place] or name in RESERVED or name.startswith((INSIDE, FILE)):
            expected = "names of their own, none of them the graph's"
            raise Refusal(_WHERE, "columns", expected=expected, found=shorten(name))
        try:
            NumberInput(name=name, minimum=0.0, maximum=1.0)
        except ValidationError as error:
            raise Refusal.from_validation("columns", error) from error


def _pixels(taken: Taken, options: Options) -> Pixels:
    shape, channels_first = _layout(taken, options.image)
    if options.pixels is None or not options.pixels[0] < options.pixels[1]:
        expected = "what black and white are for the model: --pixels=0..1, --pixels=-1..1 or --pixels=0..255"
        raise Refusal(_WHERE, "pixels", expected=expected, found=str(options.pixels or "nothing"))
    return Pixels(taken, shape, options.pixels, channels_first)


def _layout(taken: Taken, given: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """(height, width) or (height, width, 3), and whether the channels come first."""
    possible = [layout for layout in _layouts(taken.shape, given) if not given or layout[0] == given]
    if len(possible) != 1:
        expected = (
            f"pixels as {'×'.join(map(str, given))}" if given else "[N, height, width], 1 or 3 channels in one place"
        )
        raise Refusal(_WHERE, f"input {shorten(taken.name)}", expected=expected, found=f"[N, {_text(taken.shape)}]")
    return possible[0]


def _layouts(shape: tuple[int, ...], given: tuple[int, ...]) -> list[tuple[tuple[int, ...], bool]]:
    """Everything that a shape can mean."""
    if len(shape) == 1:
        return [(given, False)] if math.prod(given) == shape[0] else []
    if len(shape) != 3:
        return [(shape, False)] if len(shape) == 2 else []
    first = [(_colored(shape[1:], shape[0]), shape[0] == 3)] if shape[0] in {1, 3} else []
    last = [(_colored(shape[:2], shape[2]), False)] if shape[2] in {1, 3} else []
    return first + last


def _colored(sizes: tuple[int, ...], channels: int) -> tuple[int, ...]:
    return sizes if channels == 1 else (*sizes, channels)


def _clipped(value: str, result: str) -> list[onnx.NodeProto]:
    """Max and Min, not Clip: that takes its ends as inputs only since opset 11."""
    return [
        helper.make_node("Max", [value, f"{INSIDE}low"], [f"{result} below"]),
        helper.make_node("Min", [f"{result} below", f"{INSIDE}high"], [result]),
    ]


def _ends(low: float, high: float) -> tuple[TensorProto, ...]:
    return _constant("low", np.float32(low)), _constant("high", np.float32(high))


def _constant(name: str, value: Tensor | np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), INSIDE + name)


def _text(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))
