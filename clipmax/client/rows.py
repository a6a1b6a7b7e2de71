"""What a caller has → rows that can be counted, sliced and written as JSON.

Arrays, lists of rows, series and data frames (polars, pandas). A row is whatever the model's input schema says: a text,
an object of columns, nested numbers; an image may also be a `Path`, the bytes of a file, a PIL image or an array.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson

Instances = npt.NDArray[Any] | Sequence[object]
"""Rows along the first axis of an array, or one after the other."""


class Frame(Protocol):
    """A data frame of polars or pandas: what both have."""

    @property
    def columns(self) -> Any: ...
    def __len__(self) -> int: ...


Data = Instances | Frame | Iterable[object]
"""Whatever has rows."""


class Rows(Protocol):
    """Rows that can be counted and sliced; a slice is what `dumps` writes."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: slice, /) -> Any: ...


def rows(given: Data) -> Rows:
    """The rows of whatever a caller has; nothing is copied before it is sliced.

    Raises:
        TypeError: one row alone, which is most often meant as a list of one.
        ValueError: an infinite number in an array.
    """
    if isinstance(given, np.ndarray):
        return _native(given)
    if isinstance(given, str | bytes | Path | Mapping):
        raise TypeError(f"rows are needed, one row is a list of one; got {type(given).__name__}")
    if hasattr(given, "iter_rows"):
        return _PolarsRows(given)
    if hasattr(given, "iloc") and hasattr(given, "columns"):
        return _PandasRows(given)
    values: Any = given.to_list() if hasattr(given, "to_list") else given
    return _List(values if isinstance(values, Sequence) else list(values))


def dumps(document: Any) -> bytes:
    """JSON with arrays as nested lists and images as `{"b64": …}`. Raises TypeError for what is neither."""
    return orjson.dumps(document, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def encoded(value: object) -> bytes | None:
    """The bytes of an image's file: of a path, of bytes, of a PIL image; None for what is none of these."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Path):
        return value.read_bytes()
    from PIL import Image  # most calls carry no image

    if not isinstance(value, Image.Image):
        return None
    buffer = io.BytesIO()
    value.save(buffer, "PNG")
    return buffer.getvalue()


class _List:
    """Rows that are JSON values already, but for images."""

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, place: slice) -> list[object]:
        return [_native(row) if isinstance(row, np.ndarray) else row for row in self._values[place]]


class _PolarsRows:
    """A polars frame: a row is an object of its columns."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, place: slice) -> list[dict[str, object]]:
        return [_finite(row) for row in self._frame[place].iter_rows(named=True)]


class _PandasRows:
    """A pandas frame: a row is an object of its columns; NaN, NaT and NA are all missing, so null."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, place: slice) -> list[dict[str, object]]:
        part = self._frame.iloc[place]
        present = part.astype(object).where(part.notna(), None)
        return [_finite(row) for row in present.to_dict(orient="records")]


def _finite(row: dict[str, object]) -> dict[str, object]:
    for name, value in row.items():
        if isinstance(value, float) and math.isinf(value):
            raise ValueError(f"the column {name!r} holds an infinite number, which JSON cannot carry")
    return row


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array as orjson takes it: contiguous, in native byte order, without infinities (JSON has none)."""
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise ValueError("the array holds an infinite number, which JSON cannot carry")
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _plain(value: object) -> object:
    """What orjson cannot write by itself."""
    if isinstance(value, np.ndarray):
        return _native(value) if value.dtype.kind in "fiub" else value.tolist()
    content = encoded(value)
    if content is None:
        raise TypeError(f"a row holds a {type(value).__name__}, which is no JSON value, array or image")
    return {"b64": base64.b64encode(content).decode("ascii")}
