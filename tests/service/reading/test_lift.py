"""V2 bodies whose numbers are lifted out, beside the exact reader."""

from __future__ import annotations

import json as standard
import random
from typing import Any

import pytest

from clipmax.inputs import ImageInput
from clipmax.problems import Problem
from service.reading import lift, v2
from service.reading.v1 import Limits

SCHEMA = ImageInput(name="image", shape=(2, 3))
LIMITS = Limits(max_body_bytes=10**7, max_batch_rows=8, max_json_depth=6)
NUMBERS = [1, 2.5, 0, -0.0, 1e-7, 255]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short a text is."""
    monkeypatch.setattr(lift, "SHORT_BYTES", 0)


def body(data: Any, *, datatype: str = "FP32", rows: int = 1, **members: Any) -> bytes:
    tensor = {"name": "image", "shape": [rows, 6], "datatype": datatype, "data": data}
    return standard.dumps({"inputs": [tensor], **members}).encode()


def answer(text: bytes) -> tuple[Any, ...]:
    try:
        question = v2.read(text, {}, [SCHEMA], ["logits", "probabilities"], LIMITS)
    except Problem as problem:
        return problem.kind.code, problem.detail, problem.pointer
    tensor = question.tensors["image"]
    return tensor.tobytes(), tensor.shape, tensor.dtype, question.outputs, question.id


def agree(text: bytes, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the numbers of a body were lifted, after a look that it makes no difference."""
    was_lifted = lift.lift(text) is not None
    found = answer(text)
    with monkeypatch.context() as patch:
        patch.setattr(lift, "SHORT_BYTES", len(text))
        assert lift.lift(text) is None
        assert found == answer(text), text
    return was_lifted


def test_the_usual_is_lifted_and_gives_the_same_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, shape, outputs and id."""
    for datatype in ("FP32", "FP64"):
        assert agree(body(NUMBERS, datatype=datatype, id="7"), monkeypatch)
        assert agree(body(NUMBERS * 3, rows=3, datatype=datatype, outputs=[{"name": "logits"}]), monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        body([*NUMBERS, 1]),
        body([]),
        body([1, 2, 3, 4, 5, 1e39]),
        body([1, 2, 3, 4, 5, "6"]),
        body([1, 2, 3, 4, 5, None]),
        body([1, 2, 3, 4, 5, 10**30]),
        body([[1, 2, 3], [4, 5, 6]]),
        body(NUMBERS, datatype="UINT8"),
        body([1, 2, 3, 4, 5, 6], datatype="UINT8"),
        body(NUMBERS, datatype="BYTES"),
        body(NUMBERS, parameters={"data": [1, 2]}),
        body(NUMBERS, id='a "data": ['),
        body(NUMBERS).replace(b'"data"', b'"d\\u0061ta"'),
        body(NUMBERS).replace(b'"data"', b'"data": [1], "data"'),
        body(NUMBERS)[:-2],
        body(NUMBERS) + b"]",
        b'{"inputs": [{"name": "image", "shape": [1, 6], "datatype": "FP32"}], "parameters": {"data": [1, 2, 3]}}',
    ],
)
def test_the_unusual_is_answered_as_the_exact_reader_answers_it(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was lifted or not."""
    agree(text, monkeypatch)


def test_mutated_bodies_are_answered_as_the_exact_reader_answers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes changed and lost, by a fixed seed."""
    generator = random.Random(0)  # noqa: S311  # not a secret
    lifted = 0
    for _ in range(1500):
        text = bytearray(body(NUMBERS * 2, rows=2, id="7"))
        place = generator.randrange(len(text))
        if generator.random() < 0.5:
            text[place] = generator.choice(b'[]{},:"0129-.eE \\\n')
        else:
            del text[place : place + generator.randint(1, 4)]
        lifted += agree(bytes(text), monkeypatch)
    assert lifted > 300
