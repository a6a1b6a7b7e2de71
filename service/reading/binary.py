"""The binary tensor extension of the Open Inference Protocol: raw tensors behind a JSON document, in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.problems import Problem
from service.reading.body import Headers

HEADER = b"inference-header-content-length"
"""Names the bytes of the JSON part, in requests and answers."""

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        "INT8": np.dtype("i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "UINT8": np.dtype("u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
    }
)
"""The protocol's datatypes of numbers as they lie in a frame."""

_LENGTH_BYTES = 4
_LENGTH = re.compile(rb"[0-9]{1,18}")


def split(body: bytes, headers: Headers) -> tuple[bytes, memoryview]:
    """The JSON part of a body and the raw part behind it, which is not copied.

    Raises:
        Problem: BINARY_FRAME where the header is not the length of a beginning of the body.
    """
    given = headers.get(HEADER)
    if given is None:
        return body, memoryview(b"")
    if _LENGTH.fullmatch(given) is None:
        raise Problem("BINARY_FRAME", "Inference-Header-Content-Length must be a number of bytes")
    length = int(given)
    if length > len(body):
        raise Problem("BINARY_FRAME", f"the JSON part would be {length} bytes long, the body is {len(body)}")
    return body[:length], memoryview(body)[length:]


class Frames:
    """The raw part of a body, given out from its beginning in the order of the inputs."""

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._position = 0

    def take(self, size: int, pointer: str) -> memoryview:
        """The next `size` bytes. Raises Problem BINARY_FRAME where there are fewer."""
        left = len(self._raw) - self._position
        if size > left:
            raise Problem("BINARY_FRAME", f"{left} bytes are left of the body, fewer than asked for", pointer=pointer)
        frame = self._raw[self._position : self._position + size]
        self._position += size
        return frame

    def end(self) -> None:
        """Raise Problem BINARY_FRAME where something is left that no input took."""
        left = len(self._raw) - self._position
        if left:
            raise Problem("BINARY_FRAME", f"{left} bytes follow the last tensor")


def numbers(frame: memoryview, datatype: str, count: int, pointer: str) -> npt.NDArray[Any]:
    """A frame → its `count` numbers, flat, in the frame's own memory.

    Raises:
        Problem: BINARY_FRAME.
    """
    dtype = DTYPES[datatype]
    expected = count * dtype.itemsize
    if len(frame) != expected:
        raise Problem("BINARY_FRAME", f"the shape needs {expected} bytes, got {len(frame)}", pointer=pointer)
    return np.frombuffer(frame, dtype=dtype)


def strings(frame: memoryview, count: int, pointer: str) -> list[bytes]:
    """A BYTES frame → its `count` elements, each behind its length in four little-endian bytes.

    Raises:
        Problem: BINARY_FRAME.
    """
    found: list[bytes] = []
    position = 0
    for _ in range(count):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(frame[start - _LENGTH_BYTES : start], "little")
        if position > len(frame):
            raise Problem("BINARY_FRAME", f"the frame ends within element {len(found)}", pointer=pointer)
        found.append(bytes(frame[start:position]))
    if position != len(frame):
        raise Problem("BINARY_FRAME", f"{len(frame) - position} bytes follow the last element", pointer=pointer)
    return found


def pack(elements: Iterable[bytes]) -> bytes:
    """Elements → a BYTES frame."""
    return b"".join(len(element).to_bytes(_LENGTH_BYTES, "little") + element for element in elements)


def join(document: bytes, frames: Sequence[bytes]) -> bytes:
    """A JSON part and the raw parts behind it → a body."""
    return b"".join([document, *frames])
