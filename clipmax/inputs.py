"""What a client has → the graph's input tensors, by the manifest's input schema.

Training, service and the golden examples go through the same functions, so the three cannot drift apart.
Each kind of input is one class: its fields are the schema in the manifest, its methods the conversion.
The look-ups that stand before a graph, because graphs hold words badly, are `category_codes`, `code_points` and
`history.pairs`.
"""

from __future__ import annotations

import base64
import binascii
import math
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from clipmax import history, images
from clipmax.problems import Problem

Tensor = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Lengths = npt.NDArray[np.intp]
UNKNOWN_CODE, MISSING_CODE, FIRST_WORD_CODE = 0, 1, 2
_WHOLE_MAX = 2.0**53
"""From here on float64 skips whole numbers, so that their digits would say more than they hold."""
_FLOAT64_MAX = float(np.finfo(np.float64).max)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def _printable(name: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise ValueError("a name without control characters")
    return name


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
"""Of an input: a column's name as the data has it, which is the graph's input name too."""


class _Input(BaseModel):
    """What all kinds share.

    A kind says how its JSON values become a tensor (`tensor`) and which rows of a tensor deserve a remark in the
    answer: `out_of_range` (the graph will clip), `unknown` (a word that training never saw), `truncated` (a text
    that the graph will cut).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: Name

    @property
    def may_be_missing(self) -> bool:
        """Whether a row may leave it out, which is the same as null."""
        return False

    def out_of_range(self, tensor: Tensor) -> Flags:
        """Rows with a value that the graph will clip: bool [N]."""
        return np.zeros(len(tensor), dtype=np.bool_)

    def unknown(self, tensor: Tensor) -> Flags:
        """Rows with a word that training never saw: bool [N]."""
        return np.zeros(len(tensor), dtype=np.bool_)

    def truncated(self, tensor: Tensor) -> Flags:
        """Rows with a text longer than the graph reads: bool [N]."""
        return np.zeros(len(tensor), dtype=np.bool_)


class ImageInput(_Input):
    """Pixels of a fixed size, 0..255, as nested rows, as one flat row, or as an encoded PNG or JPEG.

    The graph takes float32 [N, height, width] (gray) or [N, height, width, 3] (rgb), clips to
    `minimum`..`maximum` and scales by itself.
    """

    kind: Literal["image"] = "image"
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

    @cached_property
    def size(self) -> int:
        """Values a row."""
        return math.prod(self.shape)

    @cached_property
    def _maximum_bits(self) -> int:
        return int(np.float32(self.maximum).view(np.uint32))

    def tensor(self, values: Sequence[object], pointers: Sequence[str]) -> Tensor:
        """JSON values, one a row → float32 [N, *shape].

        Raises:
            Problem: INPUT_SHAPE, TYPE, NUMBER_RANGE, IMAGE_INVALID or IMAGE_TOO_LARGE, with the row's pointer.
        """
        rows = [
            self.row(value, row, pointer) for row, (value, pointer) in enumerate(zip(values, pointers, strict=True))
        ]
        return np.stack(rows).astype(np.float32).reshape(len(rows), *self.shape)

    def out_of_range(self, tensor: Tensor) -> Flags:
        # Read as integers, floats from +0.0 upwards keep their order, and negative ones and NaN lie above them all.
        if self.minimum == 0.0 and np.maximum.reduce(tensor.view(np.uint32), axis=None) <= self._maximum_bits:
            return np.zeros(len(tensor), dtype=np.bool_)  # the usual, in one quick pass
        flat = tensor.reshape(len(tensor), -1)
        return np.asarray((flat.min(axis=1) < self.minimum) | (flat.max(axis=1) > self.maximum))

    def row(self, value: object, row: int, pointer: str) -> Tensor:
        """One row's JSON value → float64 [size]; `row` is its number, for messages. Raises what `tensor` does."""
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


class NumberInput(_Input):
    """A number of a table row. The graph takes float32 [N, 1], NaN where the value is missing (JSON null).

    float32 holds seven digits, too few for a time in seconds. Such a column has an `origin`, subtracted in float64
    before the cast; everywhere else it is 0.
    """

    kind: Literal["number"] = "number"
    dtype: Literal["float32"] = "float32"
    shape: tuple[Literal[1]] = (1,)
    minimum: float = Field(description="the smallest value of the training split; the graph clips to it")
    maximum: float
    origin: float = Field(default=0.0, description="subtracted in float64 before the value becomes float32")
    required: bool = Field(default=False, description="a missing value is refused: the graph has no answer for it")

    @property
    def may_be_missing(self) -> bool:
        return not self.required

    def tensor(self, values: Sequence[object], pointers: Sequence[str]) -> Tensor:
        """JSON numbers or null → float32 [N, 1], less the origin. Raises Problem TYPE or NUMBER_RANGE."""
        numbers = [
            np.nan if value is None and not self.required else _float32(value, pointer)
            for value, pointer in zip(values, pointers, strict=True)
        ]
        return self.cast(np.array(numbers, dtype=np.float64))

    def cast(self, numbers: Tensor) -> Tensor:
        """float64 [N] as the data has them → float32 [N, 1] as the graph takes them; every NaN is a missing value."""
        with np.errstate(invalid="ignore"):  # numpy would warn of a signalling NaN, which raw bytes may hold
            shifted = np.clip(numbers - self.origin, -_FLOAT32_MAX, _FLOAT32_MAX)
            return shifted.astype(np.float32).reshape(-1, 1)

    def out_of_range(self, tensor: Tensor) -> Flags:
        """A missing value is not out of range: comparisons with NaN are false."""
        low, high = self.cast(np.array([self.minimum, self.maximum]))[:, 0]
        return np.asarray((tensor[:, 0] < low) | (tensor[:, 0] > high))


class CategoryInput(_Input):
    """A word of a table row. The graph takes its code as int32 [N, 1]; see `category_codes`."""

    kind: Literal["category"] = "category"
    dtype: Literal["int32"] = "int32"
    shape: tuple[Literal[1]] = (1,)
    categories: tuple[str, ...] = Field(description="the words of the training split; the first has code 2")

    @property
    def may_be_missing(self) -> bool:
        return True

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """Word → code."""
        return {word: code for code, word in enumerate(self.categories, start=FIRST_WORD_CODE)}

    def tensor(self, values: Sequence[object], pointers: Sequence[str]) -> Tensor:
        """JSON strings, numbers, booleans or null → int32 [N, 1]. Raises Problem TYPE or NUMBER_RANGE."""
        words = [
            value if value is None else _word(value, pointer) for value, pointer in zip(values, pointers, strict=True)
        ]
        return category_codes(words, self.codes)

    def unknown(self, tensor: Tensor) -> Flags:
        return np.asarray(tensor[:, 0] == UNKNOWN_CODE)


class TextInput(_Input):
    """A text. The graph takes its code points as int32 [N, L], zero padded; see `code_points`."""

    kind: Literal["text"] = "text"
    dtype: Literal["int32"] = "int32"
    shape: tuple[Literal[-1]] = (-1,)
    max_length: int = Field(ge=1, description="code points that the graph reads; the rest of a text is cut")

    def tensor(self, values: Sequence[object], pointers: Sequence[str]) -> Tensor:
        """JSON strings → int32 [N, L]. Raises Problem TYPE."""
        texts = [_string(value, pointer) for value, pointer in zip(values, pointers, strict=True)]
        return code_points(texts, self.max_length)

    def lengths(self, tensor: Tensor) -> Lengths:
        """Places of each row before the padding, at least 1: int64 [N]."""
        return np.maximum(_used_places(tensor), 1)

    def truncated(self, tensor: Tensor) -> Flags:
        """`code_points` keeps one code point more than the graph reads, so that the cut can be seen."""
        if tensor.shape[1] <= self.max_length:
            return np.zeros(len(tensor), dtype=np.bool_)
        return np.asarray(tensor[:, self.max_length] != 0)


class HistoryInput(_Input):
    """What one customer bought and when. The graph takes float32 [N, L, 2] of codes and days; see `clipmax.history`.

    The order of purchases means nothing. Days are clipped to `minimum`..`maximum`.
    """

    kind: Literal["history"] = "history"
    dtype: Literal["float32"] = "float32"
    shape: tuple[Literal[-1], Literal[2]] = (-1, 2)
    items: tuple[str, ...] = Field(min_length=1, description="the items of training; the first has code 2")
    max_length: int = Field(ge=1, description="most purchases of one history; a longer one is refused")
    minimum: float = 0.0
    maximum: float = Field(description="days between the first purchase of training and its end; the graph clips to it")

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """Item → code."""
        return {item: code for code, item in enumerate(self.items, start=history.FIRST_ITEM_CODE)}

    def tensor(self, values: Sequence[object], pointers: Sequence[str]) -> Tensor:
        """JSON objects → float32 [N, L, 2]. Raises Problem as `history.read` does."""
        found = [
            history.read(value, pointer, max_length=self.max_length)
            for value, pointer in zip(values, pointers, strict=True)
        ]
        return history.pairs(found, self.codes)

    def lengths(self, tensor: Tensor) -> Lengths:
        """Places of each row before the padding, at least as many as a short history is padded to: int64 [N]."""
        return np.maximum(_used_places(tensor[:, :, 0]), history.LEAST_LENGTH)

    def out_of_range(self, tensor: Tensor) -> Flags:
        days = tensor[:, :, 1]
        return np.asarray(((days < self.minimum) | (days > self.maximum)).any(axis=1))

    def unknown(self, tensor: Tensor) -> Flags:
        return np.asarray((tensor[:, :, 0] == history.UNKNOWN_CODE).any(axis=1))


Input = Annotated[ImageInput | NumberInput | CategoryInput | TextInput | HistoryInput, Field(discriminator="kind")]
"""Any kind of input, told apart by `kind`."""


def category_codes(words: Sequence[str | None], codes: Mapping[str, int]) -> Tensor:
    """Words → int32 [N, 1]: 0 for a word not in `codes`, 1 for None (missing), else its code.

    Code points are compared exactly: nothing is trimmed, folded or normalized, in training or in service.
    """
    found = [MISSING_CODE if word is None else codes.get(word, UNKNOWN_CODE) for word in words]
    return np.array(found, dtype=np.int32).reshape(-1, 1)


def word(value: str | float) -> str:
    """How a value of a category column is spelled as a word, in training and in service.

    A string is a word already. A boolean is `true` or `false`; a whole number below 2⁵³ has no decimal point, for JSON
    does not tell 1.0 from 1; any other number has the fewest digits that read back as it.

        >>> [word(value) for value in ("1.0", True, 1, 1.0, 2.5)]
        ['1.0', 'true', '1', '1', '2.5']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if abs(value) < _WHOLE_MAX and float(value).is_integer():
        return str(int(value))
    return repr(value)


def code_points(texts: Sequence[str], max_length: int) -> Tensor:
    """Texts → int32 [N, L] of code points, zero padded, L the longest of them but at most `max_length` + 1.

    Any `str` passes, NUL and lone surrogates included; the graph decides what they mean.
    """
    width = max(1, min(max(map(len, texts)), max_length + 1))
    return np.array(texts, dtype=f"<U{width}").view("<i4").reshape(len(texts), width)


def tensors(inputs: Sequence[Input], instances: Sequence[object], *, pointer: str = "/instances") -> dict[str, Tensor]:
    """The instances of a V1 request → one tensor an input, by name.

    An instance is an object of values by input name, in which a number or category may be absent (missing), or an
    array of values in the schema's order, or, where the model has one input, the bare value.

    Raises:
        Problem: EMPTY_BATCH for no instances; TYPE, INPUT_SHAPE, FIELD_MISSING, UNKNOWN_FIELD and what the inputs'
            `tensor` raises, each with the pointer to its place.
    """
    if not instances:
        raise Problem("EMPTY_BATCH", "at least one row is needed", pointer=pointer)
    rows = [_values(inputs, instance, f"{pointer}/{row}") for row, instance in enumerate(instances)]
    return {
        schema.name: schema.tensor([row[index][0] for row in rows], [row[index][1] for row in rows])
        for index, schema in enumerate(inputs)
    }


def by_name(inputs: Sequence[Input], instance: object) -> dict[str, object]:
    """One instance, in whichever of its forms, as a value an input; None for what is missing.

    Raises:
        Problem: what `tensors` raises of the form of an instance.
    """
    return {schema.name: value for schema, (value, _) in zip(inputs, _values(inputs, instance, ""), strict=True)}


def _values(inputs: Sequence[Input], instance: object, pointer: str) -> list[tuple[object, str]]:
    """One instance as (value, pointer) in the schema's order."""
    if len(inputs) == 1 and not (isinstance(instance, dict) and inputs[0].name in instance):
        return [(instance, pointer)]
    if isinstance(instance, dict):
        return _named_values(inputs, instance, pointer)
    if not isinstance(instance, list):
        raise Problem("TYPE", f"a row must be an object or an array, got {_json_type(instance)}", pointer=pointer)
    if len(instance) != len(inputs):
        detail = f"the row has {len(instance)} values, the model needs {len(inputs)}"
        raise Problem("INPUT_SHAPE", detail, pointer=pointer)
    return [(value, f"{pointer}/{index}") for index, value in enumerate(instance)]


def _named_values(inputs: Sequence[Input], instance: Mapping[str, object], pointer: str) -> list[tuple[object, str]]:
    places = [f"{pointer}/{_escaped(schema.name)}" for schema in inputs]
    for schema, place in zip(inputs, places, strict=True):
        if schema.name not in instance and not schema.may_be_missing:
            raise Problem("FIELD_MISSING", f"the model needs the input {schema.name}", pointer=place)
    unknown = len(instance.keys() - {schema.name for schema in inputs})
    if unknown:
        detail = f"{unknown} members are not inputs of the model, whose inputs are in its metadata"
        raise Problem("UNKNOWN_FIELD", detail, pointer=pointer)
    return [(instance.get(schema.name), place) for schema, place in zip(inputs, places, strict=True)]


def _escaped(name: str) -> str:
    """A JSON pointer token (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


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


def _used_places(codes: Tensor) -> Lengths:
    """Of rows of codes [N, L], padded with zeros, the places before the padding."""
    is_used = codes[:, ::-1] != 0
    return np.where(is_used.any(axis=1), codes.shape[1] - is_used.argmax(axis=1), 0)


def _float32(value: object, pointer: str) -> float:
    """A JSON number that fits float32. `bool` is a subclass of int and is no number here."""
    if type(value) is not int and type(value) is not float:
        kind = "INPUT_SHAPE" if isinstance(value, list) else "TYPE"
        raise Problem(kind, f"expected a number, got {_json_type(value)}", pointer=pointer)
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:  # also refuses NaN; an int is compared exactly
        raise Problem("NUMBER_RANGE", "the number does not fit float32", pointer=pointer)
    return float(value)


def _string(value: object, pointer: str) -> str:
    if not isinstance(value, str):
        raise Problem("TYPE", f"expected a string, got {_json_type(value)}", pointer=pointer)
    return value


def _word(value: object, pointer: str) -> str:
    if not isinstance(value, str | int | float):
        detail = f"expected a string, a number or a boolean, got {_json_type(value)}"
        raise Problem("TYPE", detail, pointer=pointer)
    if not isinstance(value, str) and not -_FLOAT64_MAX <= value <= _FLOAT64_MAX:  # also refuses NaN
        raise Problem("NUMBER_RANGE", "the number does not fit float64", pointer=pointer)
    return word(value)


def _json_type(value: object) -> str:
    names = {
        int: "a number",
        float: "a number",
        bool: "a boolean",
        str: "a string",
        list: "an array",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), "something else")
