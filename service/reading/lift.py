"""The JSON text of an Open Inference Protocol request → the text without its numbers, and the numbers in an array.

What is left of the text is short, and the exact reader reads it as any other. As in `fast`, what is not the usual is
not judged here; and no exception leaves a function that holds simdjson's proxies.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import simdjson

SHORT_BYTES, LONG_BYTES = 1024, 1024 * 1024
"""Of shorter texts it is not worth it; longer ones would keep Python's lock for too long."""

Floats = npt.NDArray[np.float64]

_DATA = re.compile(rb'"data"\s*:\s*\[')
_ERRORS = (ValueError, RuntimeError, TypeError, OverflowError, MemoryError)


def lift(text: bytes) -> tuple[bytes, Floats] | None:
    """The text with its one member "data" emptied, and the numbers that stood there: float64 [M].

    Without a backslash no string can look like a member, and no other spelling of the name is that member.

    Returns:
        None where there is another number of such members, or what one holds is not flat numbers.
    """
    if not SHORT_BYTES < len(text) <= LONG_BYTES or b"\\" in text:
        return None
    found = _DATA.search(text)
    if found is None:
        return None
    start, end = found.end(), text.find(b"]", found.end())
    if end < 0 or _DATA.search(text, end) is not None:
        return None
    numbers = _numbers(text[start - 1 : end + 1])
    return None if numbers is None else (text[:start] + text[end:], numbers)


def _numbers(array: bytes) -> Floats | None:
    """Of an array that holds nothing else, other arrays neither."""
    if array.find(b"[", 1) >= 0:
        return None
    try:
        parsed: Any = simdjson.Parser().parse(array)
        return np.frombuffer(parsed.as_buffer(of_type="d"))
    except _ERRORS:
        return None
