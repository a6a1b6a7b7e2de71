"""One tensor of an Open Inference Protocol request → the graph's tensor, as the manifest's input says.

    kind       datatype         shape                         elements
    image      any number       [N, *shape] or [N, pixels]    pixels
    image      BYTES            [N] or [N, 1]                 PNG or JPEG; in JSON its base64
    number     any number       [N] or [N, 1]                 NaN, or null in JSON, where the value is missing
    category   BYTES            [N] or [N, 1]                 words; null in JSON where the value is missing
    category   INT32            [N] or [N, 1]                 codes as the manifest numbers the words
    text       BYTES            [N] or [N, 1]                 UTF-8
    text       INT32            [N, L]                        code points, zero padded
    history    BYTES            [N] or [N, 1]                 the JSON object that V1 takes

Numbers become float32 as JSON numbers of V1 do: rounded to the nearest, refused where they are too large.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from clipmax import images, inputs
from clipmax.inputs import CategoryInput, HistoryInput, ImageInput, Input, NumberInput, TextInput
from clipmax.problems import Problem
from service.reading import binary, json, lift

Tensor = inputs.Tensor

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LAST_CODE_POINT = 0x10FFFF
_LONGEST_DIMENSION = 2**63 - 1
_FLOATING = frozenset({"FP16", "FP32", "FP64"})
_COLUMN = ((), (1,))
_HISTORY_DEPTH = 2


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor as a request has it, its shape checked against its input but its data not yet looked into."""

    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | lift.Floats | memoryview
    pointer: str

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def place(self) -> str:
        """The pointer to the data, which in a frame is nowhere in the JSON."""
        return self.pointer if isinstance(self.data, memoryview) else f"{self.pointer}/data"


def datatypes(schema: Input) -> tuple[str, ...]:
    """What an input takes; the first is the one that the model's metadata names."""
    if isinstance(schema, ImageInput):
        return ("FP32", *(name for name in binary.DTYPES if name != "FP32"), "BYTES")
    if isinstance(schema, NumberInput):
        first = "FP64" if schema.origin else "FP32"  # an origin is there because float32 is too coarse
        return (first, *(name for name in binary.DTYPES if name != first))
    return ("BYTES",) if isinstance(schema, HistoryInput) else ("BYTES", "INT32")


def row_shape(schema: Input) -> tuple[int, ...]:
    """The shape behind the rows for the first of `datatypes`."""
    return schema.shape if isinstance(schema, ImageInput) else (1,)


def check_datatype(schema: Input, datatype: object, pointer: str) -> str:
    """Raises Problem DATATYPE."""
    known = datatypes(schema)
    if not isinstance(datatype, str) or datatype not in known:
        raise Problem("DATATYPE", f"this input takes {', '.join(known)}", pointer=f"{pointer}/datatype")
    return datatype


def check_shape(schema: Input, datatype: str, shape: object, *, max_rows: int, pointer: str) -> tuple[int, ...]:
    """A shape that the input can have, before anything of its size is made.

    Raises:
        Problem: SHAPE_INVALID for what is no shape, BATCH_TOO_LARGE, INPUT_SHAPE for another than the model's.
    """
    place = f"{pointer}/shape"
    if not isinstance(shape, list) or not shape:
        raise Problem("SHAPE_INVALID", "a shape is an array of dimensions, rows first", pointer=place)
    for index, size in enumerate(shape):
        if type(size) is not int or not 1 <= size <= _LONGEST_DIMENSION:
            raise Problem("SHAPE_INVALID", "a dimension is an integer of at least 1", pointer=f"{place}/{index}")
    if shape[0] > max_rows:
        raise Problem("BATCH_TOO_LARGE", f"the limit is {max_rows} rows", pointer=place)
    if not _fits(schema, datatype, tuple(shape[1:])):
        raise Problem("INPUT_SHAPE", f"the model needs {_needed(schema, datatype)}", pointer=place)
    return tuple(shape)


def tensor(schema: Input, given: Given) -> Tensor:
    """The tensor that the graph takes for this input.

    Raises:
        Problem: SHAPE_INVALID, INPUT_SHAPE, TYPE, NUMBER_RANGE, NON_FINITE, BINARY_FRAME, ENCODING,
            IMAGE_INVALID or IMAGE_TOO_LARGE.
    """
    if isinstance(schema, ImageInput):
        return _encoded_images(schema, given) if given.datatype == "BYTES" else _pixels(schema, given)
    if isinstance(schema, NumberInput):
        return _column(schema, given)
    if isinstance(schema, CategoryInput):
        return _codes(schema, given) if given.datatype == "INT32" else _words(schema, given)
    if isinstance(schema, HistoryInput):
        return _histories(schema, given)
    return _code_points(schema, given) if given.datatype == "INT32" else _texts(schema, given)


def _fits(schema: Input, datatype: str, rest: tuple[int, ...]) -> bool:
    if isinstance(schema, ImageInput) and datatype != "BYTES":
        return rest in {schema.shape, (schema.size,)}
    if isinstance(schema, TextInput) and datatype == "INT32":
        return len(rest) == 1
    return rest in _COLUMN


def _needed(schema: Input, datatype: str) -> str:
    if isinstance(schema, ImageInput) and datatype != "BYTES":
        sizes = ", ".join(map(str, schema.shape))
        return f"[N, {sizes}] or [N, {schema.size}]"
    return "[N, L]" if isinstance(schema, TextInput) and datatype == "INT32" else "[N] or [N, 1]"


def _pixels(schema: ImageInput, given: Given) -> Tensor:
    values = _numbers(given)
    _check_finite(values, given)
    return np.require(values, np.float32, ["C", "A"]).reshape(given.rows, *schema.shape)


def _encoded_images(schema: ImageInput, given: Given) -> Tensor:
    height, width = schema.shape[:2]
    pixels = [
        images.decode(data, height=height, width=width, color=schema.color, pointer=pointer)
        for data, pointer in _files(given)
    ]
    return np.stack(pixels).astype(np.float32)


def _column(schema: NumberInput, given: Given) -> Tensor:
    values = _numbers(given, missing=schema.may_be_missing).astype(np.float64)
    _check_finite(values, given, missing=schema.may_be_missing)
    return schema.cast(values)


def _words(schema: CategoryInput, given: Given) -> Tensor:
    return inputs.category_codes(_strings(given, missing=True), schema.codes)


def _codes(schema: CategoryInput, given: Given) -> Tensor:
    values = _numbers(given)
    _check_within(values, inputs.FIRST_WORD_CODE + len(schema.categories) - 1, given)
    return values.astype(np.int32).reshape(-1, 1)


def _histories(schema: HistoryInput, given: Given) -> Tensor:
    framed = isinstance(given.data, memoryview)
    pointers = [given.pointer if framed else _pointer(given, index) for index in range(given.size)]
    values = [_document(text or "", place) for text, place in zip(_strings(given), pointers, strict=True)]
    return schema.tensor(values, pointers)


def _document(text: str, pointer: str) -> Any:
    """The JSON of an element, read as strictly as a body."""
    try:
        return json.decode(text.encode(), max_depth=_HISTORY_DEPTH)
    except Problem as problem:
        raise Problem(problem.kind.code, problem.detail, pointer=pointer) from None


def _texts(schema: TextInput, given: Given) -> Tensor:
    texts = [text or "" for text in _strings(given)]
    return inputs.code_points(texts, schema.max_length)


def _code_points(schema: TextInput, given: Given) -> Tensor:
    values = _numbers(given)
    _check_within(values, _LAST_CODE_POINT, given)
    points = values.reshape(given.shape)[:, : schema.max_length + 1]
    return np.require(points, np.int32, ["C", "A"])


def _check_finite(values: Tensor, given: Given, *, missing: bool = False) -> None:
    """NaN and infinity lie only in frames; too large for float32 is also what JSON can say."""
    if values.dtype.kind != "f":
        return
    known = values[~np.isnan(values)] if missing else values
    with np.errstate(invalid="ignore"):  # NaN is what is looked for
        least, most = float(known.min(initial=0.0)), float(known.max(initial=0.0))
    if not (math.isfinite(least) and math.isfinite(most)):
        wrong = np.isinf(values) if missing else ~np.isfinite(values)
        raise Problem("NON_FINITE", f"{_row(wrong, given)} has NaN or infinity", pointer=given.place)
    if least < -_FLOAT32_MAX or most > _FLOAT32_MAX:
        row = _row(np.abs(values) > _FLOAT32_MAX, given)
        raise Problem("NUMBER_RANGE", f"{row} has a number that does not fit float32", pointer=given.place)


def _check_within(values: Tensor, last: int, given: Given) -> None:
    wrong = (values < 0) | (values > last)
    if wrong.any():
        detail = f"{_row(wrong, given)} has a code that is not from 0 to {last}"
        raise Problem("NUMBER_RANGE", detail, pointer=given.place)


def _row(wrong: Tensor, given: Given) -> str:
    return f"row {int(np.argmax(wrong)) // (given.size // given.rows)}"


def _numbers(given: Given, *, missing: bool = False) -> Tensor:
    """Flat numbers of the datatype, checked for it; NaN where JSON says null and `missing` is allowed."""
    if isinstance(given.data, memoryview):
        return binary.numbers(given.data, given.datatype, given.size, given.pointer)
    if isinstance(given.data, np.ndarray):  # only where the datatype is floating
        _check_count(given.data, given)
        return _rounded(given.data, given)
    flat = _flat(given)
    if given.datatype in _FLOATING:
        return _floats(flat, {int, float, type(None)} if missing else {int, float}, given)
    return _integers(flat, given)


def _floats(flat: Sequence[Any], allowed: set[type], given: Given) -> Tensor:
    if not set(map(type, flat)) <= allowed:
        raise _wrong_type(flat, allowed, given)
    return _rounded(np.array(flat, dtype=np.float64), given)  # None becomes NaN


def _rounded(values: lift.Floats, given: Given) -> Tensor:
    dtype = binary.DTYPES[given.datatype]
    wrong = np.abs(values) > np.finfo(dtype).max
    if wrong.any():
        raise _out_of_range(int(wrong.argmax()), given)
    return values.astype(dtype)


def _integers(flat: Sequence[Any], given: Given) -> Tensor:
    """Compared exactly, however long they are."""
    if set(map(type, flat)) != {int}:
        raise _not_an_integer(flat, given)
    dtype = binary.DTYPES[given.datatype]
    limits = np.iinfo(dtype)
    if min(flat) < limits.min or max(flat) > limits.max:
        index = next(index for index, value in enumerate(flat) if not limits.min <= value <= limits.max)
        raise _out_of_range(index, given)
    return np.array(flat, dtype=dtype)


def _not_an_integer(flat: Sequence[Any], given: Given) -> Problem:
    """An integer of very many digits has become an infinity in `json.decode`."""
    index = next(index for index, value in enumerate(flat) if type(value) is not int)
    if isinstance(flat[index], float) and math.isinf(flat[index]):
        return _out_of_range(index, given)
    return _wrong_type(flat, {int}, given)


def _out_of_range(index: int, given: Given) -> Problem:
    return Problem("NUMBER_RANGE", f"the number does not fit {given.datatype}", pointer=_pointer(given, index))


def _strings(given: Given, *, missing: bool = False) -> list[str | None]:
    if isinstance(given.data, memoryview):
        return [_text(data, given) for data in binary.strings(given.data, given.size, given.pointer)]
    flat = _flat(given)
    allowed: set[type] = {str, type(None)} if missing else {str}
    if not set(map(type, flat)) <= allowed:
        raise _wrong_type(flat, allowed, given)
    return flat


def _text(data: bytes, given: Given) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("ENCODING", "an element is not valid UTF-8", pointer=given.pointer) from None


def _files(given: Given) -> list[tuple[bytes, str]]:
    """Encoded images with the pointer to each."""
    if isinstance(given.data, memoryview):
        return [(data, given.pointer) for data in binary.strings(given.data, given.size, given.pointer)]
    places = (_pointer(given, index) for index in range(given.size))
    return [(_from_base64(text or "", place), place) for text, place in zip(_strings(given), places, strict=True)]


def _from_base64(text: str, pointer: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("IMAGE_INVALID", "not valid base64", pointer=pointer) from None


def _flat(given: Given) -> list[Any]:
    """The elements of JSON data, which is flat or nested as its shape."""
    level = given.data
    assert isinstance(level, list)  # noqa: S101  # the callers have dealt with frames
    if not any(isinstance(element, list) for element in level[:1]):
        _check_count(level, given)
        return level
    if len(level) != given.rows:
        raise Problem("SHAPE_INVALID", f"the shape has {given.rows} rows, data {len(level)}", pointer=given.place)
    for depth, size in enumerate(given.shape[1:], start=1):
        _check_level(level, size, depth, given)
        level = list(chain.from_iterable(level))
    return level


def _check_count(flat: Sequence[Any] | lift.Floats, given: Given) -> None:
    if len(flat) != given.size:
        detail = f"the shape needs {given.size} elements, data has {len(flat)}"
        raise Problem("SHAPE_INVALID", detail, pointer=given.place)


def _check_level(level: list[Any], size: int, depth: int, given: Given) -> None:
    if set(map(type, level)) == {list} and set(map(len, level)) == {size}:
        return
    for index, part in enumerate(level):
        if not isinstance(part, list) or len(part) != size:
            place = _pointer(given, index, depth=depth)
            raise Problem("INPUT_SHAPE", "data is not nested as its shape says", pointer=place)


def _wrong_type(flat: Sequence[Any], allowed: set[type], given: Given) -> Problem:
    index = next(index for index, value in enumerate(flat) if type(value) not in allowed)
    code = "INPUT_SHAPE" if isinstance(flat[index], list) else "TYPE"
    return Problem(code, f"an element is not a value of {given.datatype}", pointer=_pointer(given, index))


def _pointer(given: Given, index: int, *, depth: int | None = None) -> str:
    """The place of an element, counted flat, or of a part at `depth`."""
    nested = isinstance(given.data, list) and bool(given.data) and isinstance(given.data[0], list)
    if not nested:
        return f"{given.place}/{index}"
    places = np.unravel_index(index, given.shape[:depth])
    return "/".join([given.place, *(str(place) for place in places)])
