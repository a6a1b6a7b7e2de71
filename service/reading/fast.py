"""The body of a V1 request for an image model → rows of pixels, without a Python object for each number.

This reader takes the usual and nothing else. What it does not take it does not judge: the exact reader decides, and
what this one takes the exact one would take too, with the same numbers.

simdjson's proxies decide how this file is written. While one of them is alive its parser refuses other documents, and
an exception that somebody keeps would keep the proxies of its frames; so none leaves a function that holds any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import simdjson

from clipmax.inputs import ImageInput, Tensor
from clipmax.problems import Problem
from service.answer import DEFAULT, Options
from service.reading import json, v1

KEPT_BYTES = 1024 * 1024
"""A parser keeps up to fourteen times the largest document that it has read; larger ones get one of their own."""

_BOM = 0xEF
_LARGEST, _LARGEST_SQUARE = 1e38, 1e76
"""Numbers beyond are rare and near the end of float32, where the exact reader looks at each."""

_SHORT = 8192
"""So many numbers are all small enough if the sum of their squares is, which is quicker than minimum and maximum. Of
more than ten thousand, numpy's BLAS would make the sum in threads."""

_INSTANCES, _BOTH = ["instances"], {"instances", "parameters"}
_ERRORS = (ValueError, RuntimeError, TypeError, KeyError, IndexError, OverflowError, MemoryError)


@dataclass(slots=True)
class Rows:
    """float32 [N, *shape] of a request, and what to answer of each row."""

    tensor: Tensor
    options: Options


class Part(NamedTuple):
    """Some rows of a long request: how many, and their float32 [N, *shape] or the refusal of the first wrong one."""

    rows: int
    found: Tensor | Problem


class Reader:
    """One parser, so not for more than one thread."""

    def __init__(self, limits: v1.Limits) -> None:
        self._limits = limits
        self._parser = simdjson.Parser(max_capacity=KEPT_BYTES)

    def read(self, body: bytes, schema: ImageInput) -> Rows | None:
        """The rows of a body, or None where the exact reader must look; raises nothing."""
        if not body or body[0] == _BOM:
            return None
        parser = self._parser if len(body) <= KEPT_BYTES else simdjson.Parser()
        try:
            document: Any = parser.parse(body)
            options = _options(document)
            return None if options is None else self._rows(body, document["instances"], schema, options)
        except _ERRORS:
            return None

    def frame(self, body: bytes) -> Options | None:
        """What a body asks for whose instances are an empty array, and the only array in it; raises nothing."""
        try:
            document: Any = self._parser.parse(body)
            options = _options(document)
            is_empty = isinstance(document["instances"], simdjson.Array) and len(document["instances"]) == 0
            return options if is_empty and body.count(b"[") == 1 else None
        except _ERRORS:
            return None

    def part(self, body: bytes, schema: ImageInput, first: int) -> Part | None:
        """The rows of a body that is a bare array of them, the first of which has this number; raises nothing.

        Returns:
            None where the exact reader must look.
        """
        if b"{" in body:
            return None
        try:
            instances: Any = self._parser.parse(body)
            rows = len(instances)
            tensor = self._tensor_if_usual(body, instances, rows, schema) if rows else None
            if tensor is not None:
                return Part(rows, tensor)
            problem = _guilty(instances, schema, is_regular=_has_brackets(body, rows + 1), first=first)
            return None if problem is None else Part(rows, problem)
        except _ERRORS:
            return None

    def _rows(self, body: bytes, instances: Any, schema: ImageInput, options: Options) -> Rows | None:
        rows = len(instances)
        if not 0 < rows <= self._limits.max_batch_rows:
            return None
        tensor = self._tensor(body, instances, rows, schema)
        return None if tensor is None else Rows(tensor, options)

    def _tensor_if_usual(self, body: bytes, instances: Any, rows: int, schema: ImageInput) -> Tensor | None:
        try:
            return self._tensor(body, instances, rows, schema)
        except _ERRORS:
            return None

    def _tensor(self, body: bytes, instances: Any, rows: int, schema: ImageInput) -> Tensor | None:
        if not self._is_regular(body, instances, rows, schema):
            return None
        values = np.frombuffer(instances.as_buffer(of_type="d"))
        if values.size != rows * schema.size or not _is_small(values):
            return None
        return values.astype(np.float32).reshape(rows, *schema.shape)

    def _is_regular(self, body: bytes, instances: Any, rows: int, schema: ImageInput) -> bool:
        """Whether every row is flat, or every row nested as the schema says.

        The buffer flattens whatever it finds, and [[], [1, 2]] has two children and two numbers. So besides the
        lengths of all arrays that should be there, the brackets say that there are no others.
        """
        size = schema.size
        if len(instances[0]) == size:
            for row in instances:
                if len(row) != size:
                    return False
            return _has_brackets(body, rows + 1)
        if len(schema.shape) + 2 > self._limits.max_json_depth:
            return False
        arrays = _nested(instances, rows, schema.shape)
        return arrays is not None and body.count(b"[") == arrays + 1


def refusal(body: bytes, schema: ImageInput, limits: v1.Limits) -> Problem | None:
    """What is wrong with a long body that the reader did not take, where that is cheap to tell.

    The exact reader needs a third of a millisecond for a row. Most refusals of long bodies (too many rows, a row of
    another length, something else among the numbers) are seen in simdjson's proxies, so that only the one guilty row
    becomes Python objects. The answer is the exact reader's: same code, pointer and words.

    Returns:
        None where the exact reader must look.
    """
    if body.count(b"{") > 1 + (b'"parameters"' in body) or body[:1] == b"\xef":
        return None
    try:
        json.check_depth(body, limits.max_json_depth)
    except Problem as problem:
        return problem.with_traceback(None)
    return _told(body, schema, limits)


def _told(body: bytes, schema: ImageInput, limits: v1.Limits) -> Problem | None:
    try:
        document: Any = simdjson.Parser().parse(body)
        options = _options(document)
        instances = document["instances"]
        if options is None or not isinstance(instances, simdjson.Array):
            return None
        if len(instances) > limits.max_batch_rows:
            return v1.too_many_rows(len(instances), limits.max_batch_rows)
        return _guilty(instances, schema, is_regular=_has_brackets(body, len(instances) + 1))
    except _ERRORS:
        return None


def _guilty(instances: Any, schema: ImageInput, *, is_regular: bool, first: int = 0) -> Problem | None:
    """The first row that the schema refuses.

    Args:
        instances: a simdjson array of rows.
        schema: of a row.
        is_regular: whether there are as many arrays as flat rows have.
        first: the number of the first row.
    """
    size = schema.size
    for number, row in enumerate(instances, start=first):
        if isinstance(row, simdjson.Array):
            if len(row) == size and _is_flat(row, size) and (is_regular or not _holds_arrays(row)):
                continue
            row = row.as_list()  # noqa: PLW2901  # the same row in Python objects
        try:
            schema.row(row, number, f"/instances/{number}")
        except Problem as problem:
            return problem.with_traceback(None)
    return None


def _is_flat(row: simdjson.Array, size: int) -> bool:
    """Whether a row is numbers, all of them small, but for arrays of numbers that may hide among them."""
    try:
        values = np.frombuffer(row.as_buffer(of_type="d"))
    except _ERRORS:
        return False
    return values.size == size and _is_small(values)


def _holds_arrays(row: Any) -> bool:
    return any(isinstance(one, simdjson.Array) for one in row)


def _options(document: Any) -> Options | None:
    """Of a document whose members are the known ones, each once."""
    if not isinstance(document, simdjson.Object):
        return None
    members = list(document)
    if members == _INSTANCES:
        return DEFAULT
    if len(members) != 2 or set(members) != _BOTH:
        return None
    return _chosen(document["parameters"])


def _chosen(parameters: Any) -> Options | None:
    """What the parameters ask for, if each is there once and usable."""
    if not isinstance(parameters, simdjson.Object) or len(set(parameters)) != len(list(parameters)):
        return None
    try:
        return v1.options(parameters.as_dict())
    except Problem:
        return None


def _has_brackets(body: bytes, count: int) -> bool:
    """Whether "[" stands exactly so often in a body. Few of them are found faster than counted."""
    position = -1
    for _ in range(count):
        position = body.find(b"[", position + 1)
        if position < 0:
            return False
    return body.find(b"[", position + 1) < 0


def _nested(value: Any, rows: int, shape: tuple[int, ...]) -> int | None:
    """How many arrays lie in `value`, `rows` arrays nested as `shape` says; None if one has another length."""
    found = rows
    for part in value:
        if len(part) != shape[0]:
            return None
        if len(shape) > 1:
            inner = _nested(part, shape[0], shape[1:])
            if inner is None:
                return None
            found += inner
    return found


def _is_small(values: Tensor) -> bool:
    """Whether every number is far inside float32: float64 [M]."""
    if values.size <= _SHORT:
        return bool(np.vdot(values, values) <= _LARGEST_SQUARE)  # warns of no overflow, as `dot` would
    return bool(values.max() <= _LARGEST and values.min() >= -_LARGEST)
