"""A long V1 body for an image model → rows of pixels, read a piece at a time.

simdjson keeps Python's lock for as long as it parses, and with it every other request waiting: five megabytes at once
are many milliseconds. Between two pieces the lock is free. So is memory: the parser
needs a dozen times what it reads.

The body is cut between rows. If the frame without its rows is the usual document with an empty array, and each piece
between brackets is an array of rows of numbers, then the body is the usual document with all these rows; that nothing
in the frame can hold the one bracket but the instances, `Reader.frame` makes sure of.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clipmax.inputs import ImageInput, Tensor
from clipmax.problems import Problem
from service.answer import Options
from service.reading import fast, json, v1

PIECE_BYTES = 64 * 1024
_PAUSE_SECONDS = 0.0001
"""Between two pieces: without it the thread would take the lock back before whoever waits for it has woken."""

_NESTED = re.compile(rb"\s*\[\s*\[")


class Rows(NamedTuple):
    """What was read: float32 [N, *shape], and what to answer of each row."""

    tensor: Tensor
    options: Options


def read(body: bytes, schema: ImageInput, limits: v1.Limits) -> Rows | Problem | None:
    """The rows of a body, or the exact reader's refusal of it, or None where that one must look; raises nothing."""
    start, end = body.find(b"[") + 1, body.rfind(b"]")
    if not 0 < start < end or body[:1] == b"\xef":
        return None
    reader = fast.Reader(limits)
    options = reader.frame(body[:start] + body[end:])
    if options is None:
        return None
    tensors: list[Tensor] = []
    problem, rows = None, 0
    for piece in _pieces(body, start, end, schema):
        part = reader.part(piece, schema, rows)
        if part is None:
            return None
        rows += part.rows
        if isinstance(part.found, Problem):
            problem = problem or part.found
        elif rows <= limits.max_batch_rows:
            tensors.append(part.found)
        time.sleep(_PAUSE_SECONDS)
    return _refusal(body, rows, problem, limits) or Rows(np.concatenate(tensors), options)


def _pieces(body: bytes, start: int, end: int, schema: ImageInput) -> Iterator[bytes]:
    """What lies from `start` to `end`, cut after a row, each piece in brackets."""
    brackets = len(schema.shape) if _NESTED.match(body, start) else 1
    between = re.compile(rb"\]\s*" * brackets + rb",")
    while True:
        cut = between.search(body, start + PIECE_BYTES, end)
        if cut is None:
            yield b"[%b]" % body[start:end]
            return
        yield b"[%b]" % body[start : cut.end() - 1]
        start = cut.end()


def _refusal(body: bytes, rows: int, problem: Problem | None, limits: v1.Limits) -> Problem | None:
    """Of several things that are wrong, what the exact reader sees first."""
    if problem is not None:
        try:
            json.check_depth(body, limits.max_json_depth)
        except Problem as deep:
            return deep.with_traceback(None)
    return v1.too_many_rows(rows, limits.max_batch_rows) if rows > limits.max_batch_rows else problem
