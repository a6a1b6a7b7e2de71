"""The fast reader beside the exact one, which decides."""

from __future__ import annotations

import json as standard
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmax import inputs
from clipmax.inputs import ImageInput
from clipmax.problems import Problem
from service.answer import Options
from service.reading import fast, v1
from service.reading.v1 import Limits

SCHEMA = ImageInput(name="image", shape=(2, 3))
RGB = ImageInput(name="image", shape=(2, 1, 3))
LIMITS = Limits(max_body_bytes=10**7, max_batch_rows=8, max_json_depth=6)

NUMBERS = (
    st.integers(0, 255)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(-1e37, 1e37, allow_nan=False)
    | st.sampled_from([-0.0, 5e-324, 1e-400, 2**53 + 1, 16777217, 0.1, 1e37])
)
WRONG = st.sampled_from(
    [None, True, "1", "", [], {}, [1], {"a": 1}, 1e200, 1e39, -1e39, 3.4028235e38, 10**30, -(2**63) - 1]
)
SPACES = st.sampled_from([None, 0, 1])


def exactly(body: bytes, schema: ImageInput = SCHEMA) -> tuple[Any, Options] | Problem:
    """What the exact reader makes of a body."""
    try:
        question = v1.read(body, LIMITS)
        return inputs.tensors([schema], question.instances)[schema.name], question.options
    except Problem as problem:
        return problem


def agree(body: bytes, schema: ImageInput = SCHEMA, reader: fast.Reader | None = None) -> bool:
    """Whether the fast reader took a body, after a look that the exact one takes it too with the same numbers."""
    found = (reader or fast.Reader(LIMITS)).read(body, schema)
    if found is None:
        return False
    expected = exactly(body, schema)
    assert not isinstance(expected, Problem), (expected, body)
    tensor, options = expected
    assert found.options == options
    assert found.tensor.dtype == np.float32
    assert found.tensor.tobytes() == tensor.tobytes()
    assert found.tensor.shape == tensor.shape
    return True


def rows(element: st.SearchStrategy[Any], *, nested: bool = False) -> st.SearchStrategy[Any]:
    row = st.lists(element, min_size=6, max_size=6)
    return row.map(lambda flat: [flat[:3], flat[3:]]) if nested else row


@settings(max_examples=200)
@given(st.booleans().flatmap(lambda nested: st.lists(rows(NUMBERS, nested=nested), min_size=1, max_size=8)), SPACES)
def test_what_is_usual_is_taken_with_the_same_numbers(instances: list[Any], indent: int | None) -> None:
    """Flat and nested, however it is written."""
    assert agree(standard.dumps({"instances": instances}, indent=indent).encode())


@settings(max_examples=200)
@given(
    st.lists(
        rows(NUMBERS | WRONG) | rows(NUMBERS | WRONG, nested=True) | st.lists(NUMBERS | WRONG, max_size=8) | WRONG,
        max_size=10,
    ),
    st.none() | st.dictionaries(st.sampled_from(["top_k", "logits", "other"]), st.booleans() | st.integers(-1, 9)),
)
def test_what_is_unusual_is_never_taken_where_the_exact_reader_refuses(
    instances: list[Any], parameters: dict[str, Any] | None
) -> None:
    """Ragged, mixed, hidden arrays, wrong types, parameters of all sorts."""
    document = {"instances": instances} | ({} if parameters is None else {"parameters": parameters})
    agree(standard.dumps(document).encode())


PIECES = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"0", b"-", b".", b"e", b"9" * 25, b"1e39", b"[]", b"[1]", b"null"]
PIECES += [b"true", b"NaN", b"\\u0061", b"\xff", b"\xef\xbb\xbf", b"\0", b" ", b'"instances":', b'"parameters":{},']


def test_mutated_bodies_are_taken_only_where_the_exact_reader_takes_them() -> None:
    """The same reader for all: nothing that it met keeps its parser busy."""
    chance = random.Random(0)  # noqa: S311  # the same mutations each time
    reader, taken = fast.Reader(LIMITS), 0
    for _ in range(6000):
        row = [chance.choice([0, 1, 255, 0.5, -1e-5]) for _ in range(6)]
        value = [row[:3], row[3:]] if chance.random() < 0.5 else row
        body = standard.dumps({"instances": [value] * chance.randint(1, 3), "parameters": {"top_k": 2}}).encode()
        for _ in range(chance.randint(1, 2)):
            start = chance.randrange(len(body))
            body = body[:start] + chance.choice([*PIECES, b""]) + body[start + chance.choice([0, 0, 1, 3]) :]
        taken += agree(body, reader=reader)
    assert taken > 100
    assert agree(b'{"instances": [[0, 0, 0, 0, 0, 0]]}', reader=reader)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'\xef\xbb\xbf{"instances": [[0, 0, 0, 0, 0, 0]]}',
        b'{"instances": [[0, 0, 0, 0, 0, 0]], "instances": [[0, 0, 0, 0, 0, 0]]}',
        b'{"instances": [[0, 0, 0, 0, 0, 0]], "parameters": {"top_k": 1, "top_k": 2}}',
        b'{"instances": [[[], [1, 2], 3, 4, 5, 6]]}',
        b'{"instances": [[[0, 0, 0], [0, 0, 0]], [0, 0, 0, 0, 0, 0]]}',
        b'{"instances": [[[0, 0], [0, 0, 0, 0]]]}',
        b'{"instances": ["123456"]}',
        b'{"instances": [[0, 0, 0, 0, 0, 2e38]]}',
        b'{"instances": [[0, 0, 0, 0, 0, 0], "[0, 0, 0"]}',
    ],
)
def test_the_unusual_is_left_to_the_exact_reader(body: bytes) -> None:
    """Whether that takes it or not."""
    assert not agree(body)


def test_color_images_are_taken_nested_as_far_as_the_depth_allows() -> None:
    """The bound on nesting is the exact reader's."""
    body = standard.dumps({"instances": [[[[1, 2, 3]], [[4, 5, 6]]]]}).encode()
    assert agree(body, RGB)
    shallow = fast.Reader(Limits(max_body_bytes=100, max_batch_rows=8, max_json_depth=4))
    assert shallow.read(body, RGB) is None


def test_a_body_larger_than_the_kept_parser_is_read_by_another() -> None:
    """And the kept one stays as small as it was."""
    reader = fast.Reader(LIMITS)
    assert agree(b'{"instances": [[0, 0, 0, 0, 0, 0]]}' + b" " * fast.KEPT_BYTES, reader=reader)
    assert agree(b'{"instances": [[0, 0, 0, 0, 0, 0]]}', reader=reader)


@settings(max_examples=300)
@given(
    st.lists(rows(NUMBERS), max_size=5),
    rows(NUMBERS | WRONG) | rows(NUMBERS | WRONG, nested=True) | st.lists(NUMBERS | WRONG, max_size=8) | WRONG,
    st.lists(rows(NUMBERS | WRONG), max_size=5),
)
def test_a_refusal_that_is_cheap_to_tell_is_the_exact_reader_s(before: list[Any], row: Any, after: list[Any]) -> None:
    """Code, pointer and words; and nothing is refused that the exact reader takes."""
    body = standard.dumps({"instances": [*before, row, *after]}).encode()
    told, expected = fast.refusal(body, SCHEMA, LIMITS), exactly(body)
    if told is not None:
        assert isinstance(expected, Problem)
        assert (told.kind, told.pointer, told.detail) == (expected.kind, expected.pointer, expected.detail)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([[0] * 6] * 9, "BATCH_TOO_LARGE"),
        ([[0] * 6, [0] * 5], "INPUT_SHAPE"),
        ([[0] * 6, [0, 0, None, 0, 0, 0]], "TYPE"),
        ([[0] * 6, [0, 0, 1e39, 0, 0, 0]], "NUMBER_RANGE"),
        ([[0] * 6, "text"], "TYPE"),
        ([[0] * 6, [[[[[[1]]]]]]], "DEPTH"),
    ],
)
def test_the_usual_refusals_are_cheap_to_tell(rows: list[Any], code: str) -> None:
    """The exact reader need not look at all the other rows."""
    problem = fast.refusal(standard.dumps({"instances": rows}).encode(), SCHEMA, LIMITS)
    assert problem is not None
    assert problem.kind.code == code
