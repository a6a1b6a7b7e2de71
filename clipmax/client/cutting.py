"""Many rows → requests that the service takes: bounded in rows and in bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FIRST_ROWS = 256
"""Of the first request, from which the bytes of a row are learnt."""

SMALL_ROWS = 64

SMALL_BYTES = 64 * 1024
"""A call of at most so many rows and bytes is sent as it is, without asking for the service's limits."""

_FILLED = 0.9
"""Of the limit in bytes, so that rows somewhat longer than the last ones need no second try."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request; without any for a service that states none."""

    rows: int = sys.maxsize
    body_bytes: int = sys.maxsize

    @classmethod
    def of(cls, document: Any) -> Limits:
        """From the `parameters` of metadata in the Open Inference Protocol."""
        parameters = document.get("parameters") if isinstance(document, Mapping) else None
        stated = parameters.get("limits") if isinstance(parameters, Mapping) else None
        if not isinstance(stated, Mapping):
            return cls()
        return cls(int(stated["max_batch_rows"]), int(stated["max_body_bytes"]))


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a request, and the headers that say what they are."""

    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Piece:
    """One request of a call, the number of its first row in the call, and how many rows it has."""

    first_row: int
    rows: int
    body: Body


Encode = Callable[[int, int], Body]
"""Rows `start` to `stop` → the body of their request."""


def pieces(count: int, limits: Limits, encode: Encode) -> Iterator[Piece]:
    """Rows 0 to `count` in requests.

    A row that is too large by itself is sent all the same, so that the service says what is wrong. So are no rows.
    """
    start, rows = 0, FIRST_ROWS
    while start < max(count, 1):
        stop = min(start + min(rows, limits.rows), count)
        body = encode(start, stop)
        taken = max(1, stop - start)
        size = len(body.content)
        rows = max(1, int(taken * (_FILLED * limits.body_bytes / size)))
        if size > limits.body_bytes and taken > 1:
            rows = min(rows, taken - 1)
            continue
        yield Piece(start, stop - start, body)
        start += taken


def small(count: int, encode: Encode) -> Piece | None:
    """The one request of a call that any service takes, else None."""
    if count > SMALL_ROWS:
        return None
    body = encode(0, count)
    return Piece(0, count, body) if len(body.content) <= SMALL_BYTES else None
