"""Answers come in the order of the batches, whatever they take, and few batches are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from clipmax.client import Prediction, ServerError, Unreachable
from clipmax.predict import asking
from clipmax.predict.asking import Answered, answers, patient
from clipmax.predict.batch import BadRow, Batch


def prediction(label: object) -> Prediction:
    return Prediction(str(label), 1.0, (), None, None, False, "m", 1, "cpu", "request-1")  # noqa: FBT003  # a fixture


def collect(batches: Any, ask: Any, concurrency: int = 3) -> list[Answered]:
    async def run() -> list[Answered]:
        return [one async for one in answers(batches, ask, concurrency=concurrency)]

    return asyncio.run(run())


def test_order_is_kept_and_what_is_under_way_is_bounded() -> None:
    """Although the first answers come last."""
    taken, given = 0, 0

    def batches() -> Iterator[Batch]:
        nonlocal taken
        for number in range(20):
            taken += 1
            assert taken - given <= 3
            yield Batch([number], [number])

    async def ask(rows: Sequence[int]) -> list[Prediction]:
        nonlocal given
        await asyncio.sleep(0.001 * (rows[0] % 3))
        given += 1
        return [prediction(row) for row in rows]

    found = collect(batches(), ask)
    assert [one.predictions[0].label for one in found] == [str(number) for number in range(20)]


def test_rows_that_are_refused_leave_their_batch() -> None:
    """One after the other, with their own numbers; the others are answered."""

    async def ask(rows: Sequence[object]) -> list[Prediction]:
        for place, row in enumerate(rows):
            if row == "bad":
                pointer = f"/instances/{place}/age"
                raise ServerError(code="TYPE", status=422, detail=f"row {place} has a word", pointer=pointer)
        return [prediction(row) for row in rows]

    batch = Batch([4, 5, 6, 8], ["a", "bad", "c", "bad"], files=list("wxyz"), bad=[BadRow(7, "unreadable")])
    (found,) = collect([batch], ask)
    assert (found.numbers, found.files) == ([4, 6], ["w", "y"])
    assert [one.label for one in found.predictions] == ["a", "c"]
    assert [row.number for row in found.bad] == [5, 7, 8]
    assert found.bad[0].why == "x: TYPE at age: it has a word"


@pytest.mark.parametrize("status", [401, 429, 500])
def test_what_is_not_about_a_row_ends_everything(status: int) -> None:
    """The batches that wait are let go."""
    running: set[int] = set()

    async def ask(rows: Sequence[int]) -> list[Prediction]:
        running.add(rows[0])
        try:
            await asyncio.sleep(0 if rows[0] == 0 else 60)
            raise ServerError(code="X", status=status, detail="", pointer="/instances/0")
        finally:
            running.discard(rows[0])

    with pytest.raises(ServerError):
        collect([Batch([number], [number]) for number in range(5)], ask)
    assert not running


class Fickle:
    """Does what its script says, one step a question."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)

    async def __call__(self, rows: Any) -> list[Prediction]:
        step = self.script.pop(0)
        if step is not None:
            raise step
        return [prediction(row) for row in rows]


def ask_twice(fickle: Fickle) -> int:
    """Answers to two questions, one after the other."""

    async def run() -> int:
        ask = patient(fickle)
        return len(await ask([1])) + len(await ask([2]))

    return asyncio.run(run())


def test_a_service_that_has_answered_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through refused connections and a shutdown that says so."""
    monkeypatch.setattr(asking, "_PAUSE_SECONDS", 0.0)
    gone = Unreachable("gone", retryable=True)
    draining = ServerError(code="DRAINING", status=503, detail="", retryable=True)
    assert ask_twice(Fickle(None, gone, draining, gone, None)) == 2


@pytest.mark.parametrize("at", [0, 1], ids=["before the first answer", "what does not pass"])
def test_what_no_waiting_mends_is_not_waited_for(at: int) -> None:
    """A service that was never there, and an error that comes back each time."""
    script: list[Exception | None] = [None, None]
    script.insert(at, Unreachable("gone", retryable=at == 0))
    with pytest.raises(Unreachable):
        ask_twice(Fickle(*script))


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for it."""
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Unreachable):
        ask_twice(Fickle(None, Unreachable("gone", retryable=True), None))
