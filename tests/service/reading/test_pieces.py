"""Long bodies in pieces beside the exact reader, which decides."""

from __future__ import annotations

import json as standard
import random
from typing import Any

import numpy as np
import pytest

from clipmax import inputs
from clipmax.inputs import ImageInput
from clipmax.problems import Problem
from service.reading import json, pieces, v1
from service.reading.v1 import Limits

SCHEMA = ImageInput(name="image", shape=(2, 3))
LIMITS = Limits(max_body_bytes=10**7, max_batch_rows=40, max_json_depth=6)
FLAT, NESTED = [1, 2.5, 3, 4e1, 5, 255], [[1, 2, 3], [4, 5, 6.25]]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a body of a few rows is cut many times."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 40)
    monkeypatch.setattr(pieces, "_PAUSE_SECONDS", 0.0)


def exactly(body: bytes) -> tuple[Any, Any] | Problem:
    try:
        question = v1.read(body, LIMITS)
        return inputs.tensors([SCHEMA], question.instances)["image"], question.options
    except Problem as problem:
        return problem


def agree(body: bytes) -> bool:
    """Whether a body was read in pieces, after a look that the exact reader says the same."""
    found, expected = pieces.read(body, SCHEMA, LIMITS), exactly(body)
    if found is None:
        return False
    if isinstance(found, Problem):
        assert isinstance(expected, Problem), body
        assert (found.kind.code, found.detail, found.pointer) == (
            expected.kind.code,
            expected.detail,
            expected.pointer,
        )
    else:
        assert not isinstance(expected, Problem), (expected, body)
        assert found.tensor.dtype == np.float32
        assert found.tensor.tobytes() == expected[0].tobytes()
        assert (found.tensor.shape, found.options) == (expected[0].shape, expected[1])
    return True


def dump(instances: list[Any], indent: int | None = None, **parameters: Any) -> bytes:
    document: dict[str, Any] = {"instances": instances}
    if parameters:
        document["parameters"] = parameters
    return standard.dumps(document, indent=indent).encode()


@pytest.mark.parametrize("row", [FLAT, NESTED])
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_flat_or_nested_are_read_with_the_same_numbers(row: list[Any], indent: int | None) -> None:
    """However the body is laid out, with and without parameters around it."""
    for count in (1, 2, 40):
        assert agree(dump([row] * count, indent))
        assert agree(dump([row] * count, indent, top_k=2, coverage=0.9))


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([FLAT] * 41, "BATCH_TOO_LARGE"),
        ([FLAT] * 20 + [[1, 2]] + [FLAT] * 9, "INPUT_SHAPE"),
        ([FLAT] * 20 + [[1, 2, 3, 4, 5, "6"]] + [[]], "TYPE"),
        ([FLAT] * 20 + [[1, 2, 3, 4, 5, 1e39]], "NUMBER_RANGE"),
        ([FLAT] * 20 + [[[[[[1]]]]]], "DEPTH"),
        ([FLAT] * 3 + [[1]] + [FLAT] * 40, "BATCH_TOO_LARGE"),
        ([FLAT] * 3 + [[1, 2, 3, 4, 5, None]] + [FLAT] * 3 + [[1]], "TYPE"),
    ],
)
def test_the_usual_refusals_are_the_exact_reader_s(rows: list[Any], code: str) -> None:
    """Same code, words and pointer, with the row counted from the beginning of the body."""
    found = pieces.read(dump(rows), SCHEMA, LIMITS)
    assert isinstance(found, Problem)
    assert found.kind.code == code
    assert agree(dump(rows))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"instances": []}',
        b'{"instances": [[1,2,3,4,5,6],]}',
        b'{"instances": [,[1,2,3,4,5,6]]}',
        b'{"instances": [[1,2,3,4,5,6]]]}',
        b'{"instances": [[1,2,3,4,5,6]]} x',
        b'{"instances": [[1,2,3,4,5,6]], "instances": []}',
        b'{"instances": [{"b64": "AAAA"}, {"b64": "BBBB"}]}',
        b'{"instances": "[", "parameters": "]"}',
        b'{"instances": [], "parameters": {"coverage_method": "[1,2,3,4,5,6]"}}',
        b'\xef\xbb\xbf{"instances": [[1,2,3,4,5,6]]}',
        b'{"instances": [[1,2,3,4,5,6]], "parameters": {"top_k": 0}}',
    ],
)
def test_the_unusual_is_left_to_the_exact_reader(body: bytes) -> None:
    """It decides; nothing is taken that it might refuse."""
    assert pieces.read(body, SCHEMA, LIMITS) is None


def test_mutated_bodies_are_read_only_as_the_exact_reader_reads_them() -> None:
    """Bytes changed, lost, doubled and moved, by a fixed seed."""
    generator = random.Random(0)  # noqa: S311  # not a secret
    usual = [dump([FLAT] * 12, top_k=2), dump([NESTED] * 12), dump([FLAT, NESTED] * 6, 0)]
    taken = 0
    for _ in range(3000):
        body = bytearray(generator.choice(usual))
        for _ in range(generator.randint(1, 2)):
            place = generator.randrange(len(body))
            match generator.randrange(3):
                case 0:
                    body[place] = generator.choice(b'[]{},:"0129-.eE \n')
                case 1:
                    del body[place : place + generator.randint(1, 8)]
                case _:
                    body[place:place] = body[generator.randrange(len(body)) :][: generator.randint(1, 30)]
        taken += agree(bytes(body))
    assert taken > 100


def test_long_and_short_bodies_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever decoder makes them."""
    body = dump([[0.1, 1e-7, -0.0, 1e308, 5e-324, 2.5]])
    short = json.decode(body, max_depth=4)
    monkeypatch.setattr(json, "LONG_BYTES", 1)
    assert repr(json.decode(body, max_depth=4)) == repr(short)
