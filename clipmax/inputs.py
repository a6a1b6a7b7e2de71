"""What a client has → the graph's input tensors, by the manifest's input schema.

Training, service and the golden examples go through the same functions, so the three cannot drift apart.
Each kind of input is one class: its fields are the schema in the manifest, its methods the conversion.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clipmax import images
from clipmax.problems import Problem

Tensor = npt.NDArray[Any]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class ImageInput(BaseModel):
    """Pixels of a fixed size, 0..255, as nested rows, as one flat row, or as an encoded PNG or JPEG.

    The graph takes float32 [N, height, width] (gray) or [N, height, width, 3] (rgb), clips to
    `minimum`..`maximum` and scales by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["image"] = "image"
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    dtype: Literal["float32"] = "float32"
    shape: tuple[int, ...] = Field(description="height, width for gray; height, width, 3 for rgb")
    minimum: float = 0.0
    maximum: float = 255.0

    @model_validator(mode="after")
    def _check_shape(self) -> ImageInput:
        gray, rgb = len(self.shape) == 2, len(self.shape) == 3 and self.shape[-1] == 3
        if not (gray or rgb) or min(self.shape) < 1:
            raise ValueError("an image shape of (height, width) or (height, width, 3)")
        return self

    @property
    def color(self) -> images.Color:
        return "gray" if len(self.shape) == 2 else "rgb"

    @property
    def size(self) -> int:
        """Values a row."""
        return int(np.prod(self.shape))

    def tensor(self, values: Sequence[object], pointers: Sequence[str]) -> Tensor:
        """JSON values, one a row → float32 [N, *shape].

        Raises:
            Problem: INPUT_SHAPE, TYPE, NUMBER_RANGE, IMAGE_INVALID or IMAGE_TOO_LARGE, with the row's pointer.
        """
        rows = [
            self._row(value, row, pointer) for row, (value, pointer) in enumerate(zip(values, pointers, strict=True))
        ]
        return np.stack(rows).astype(np.float32).reshape(len(rows), *self.shape)

    def out_of_range(self, tensor: Tensor) -> npt.NDArray[np.bool_]:
        """Which rows hold a value that the graph will clip: bool [N]."""
        flat = tensor.reshape(len(tensor), -1)
        return np.asarray((flat.min(axis=1) < self.minimum) | (flat.max(axis=1) > self.maximum))

    def _row(self, value: object, row: int, pointer: str) -> Tensor:
        if isinstance(value, dict):
            return self._encoded(value, pointer)
        if not isinstance(value, list):
            raise Problem("TYPE", "a row must be an array of numbers or an encoded image", pointer=pointer)
        nested = bool(value) and isinstance(value[0], list)
        shape = self.shape if nested else (self.size,)
        numbers: list[float] = []
        _flatten(value, shape, numbers, f"row {row}", pointer)
        return np.array(numbers, dtype=np.float64)

    def _encoded(self, value: Mapping[str, object], pointer: str) -> Tensor:
        if set(value) != {"b64"}:
            raise Problem("TYPE", 'an encoded image is an object with the one member "b64"', pointer=pointer)
        text = value["b64"]
        if not isinstance(text, str):
            raise Problem("TYPE", "b64 must be a string", pointer=f"{pointer}/b64")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Problem("IMAGE_INVALID", "b64 is not valid base64", pointer=f"{pointer}/b64") from error
        height, width = self.shape[:2]
        pixels = images.decode(data, height=height, width=width, color=self.color, pointer=f"{pointer}/b64")
        return pixels.reshape(-1).astype(np.float64)


Input = ImageInput
"""Any kind of input; grows into a union told apart by `kind`."""


def tensors(inputs: Sequence[Input], instances: Sequence[object], *, pointer: str = "/instances") -> dict[str, Tensor]:
    """The instances of a V1 request → one tensor an input, by name.

    With one input an instance may be the bare value; with any number it may be an object of values by name.

    Raises:
        Problem: EMPTY_BATCH for no instances; TYPE, FIELD_MISSING, UNKNOWN_FIELD and what `tensor` raises.
    """
    if not instances:
        raise Problem("EMPTY_BATCH", "at least one row is needed", pointer=pointer)
    (only,) = inputs
    values, pointers = [], []
    for row, instance in enumerate(instances):
        here = f"{pointer}/{row}"
        named = isinstance(instance, dict) and only.name in instance
        if named and len(instance) > 1:  # type: ignore[arg-type]  # `named` implies a dict
            raise Problem("UNKNOWN_FIELD", f"the model has the one input {only.name}", pointer=here)
        values.append(instance[only.name] if named else instance)  # type: ignore[index]  # as above
        pointers.append(f"{here}/{only.name}" if named else here)
    return {only.name: only.tensor(values, pointers)}


def _flatten(value: object, shape: tuple[int, ...], numbers: list[float], what: str, pointer: str) -> None:
    """Append the numbers of a nested list that must have exactly `shape`."""
    if not isinstance(value, list):
        raise Problem("INPUT_SHAPE", f"{what} is not nested as the model needs", pointer=pointer)
    if len(value) != shape[0]:
        raise Problem("INPUT_SHAPE", f"{what} has {len(value)} values, the model needs {shape[0]}", pointer=pointer)
    if len(shape) > 1:
        for index, part in enumerate(value):
            _flatten(part, shape[1:], numbers, f"{what}, line {index}", f"{pointer}/{index}")
        return
    for index, number in enumerate(value):
        numbers.append(_float32(number, f"{pointer}/{index}"))


def _float32(value: object, pointer: str) -> float:
    """A JSON number that fits float32. `bool` is a subclass of int and is no number here."""
    if type(value) is not int and type(value) is not float:
        kind = "INPUT_SHAPE" if isinstance(value, list) else "TYPE"
        raise Problem(kind, f"expected a number, got {_json_type(value)}", pointer=pointer)
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:  # also refuses NaN; an int is compared exactly
        raise Problem("NUMBER_RANGE", "the number does not fit float32", pointer=pointer)
    return float(value)


def _json_type(value: object) -> str:
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object", type(None): "null"}
    return names.get(type(value), "something else")
