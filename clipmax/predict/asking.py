"""Batches → answers in their order, several under way at a time, with a bad row reported by its number."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from clipmax.client import Prediction, ServerError, Unreachable
from clipmax.client.rows import Data
from clipmax.predict.batch import BadRow, Batch

_ROW = re.compile(r"\brow \d+")
"""In a detail: the row's number within its request, which means nothing here."""

PATIENCE_SECONDS = 60.0
"""How long a request is repeated, beyond the client's own attempts."""
_PAUSE_SECONDS = 0.5

_OF_ROWS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})

Ask = Callable[[Data], Awaitable[Sequence[Prediction]]]


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to the good rows of a batch, and the rows that have none."""

    numbers: list[int]
    files: list[str] | None
    predictions: Sequence[Prediction]
    bad: list[BadRow]
    done: float


def patient(ask: Ask) -> Ask:
    """The same, but a service that has answered before and goes away is waited for, because it may be started again.

    One that was never there is not: its address may be wrong.
    """
    has_answered = False

    async def ask_again(data: Data) -> Sequence[Prediction]:
        nonlocal has_answered
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:  # ends at the deadline at the latest
            try:
                found = await ask(data)
            except (ServerError, Unreachable) as error:
                if not (has_answered and error.retryable and time.monotonic() < deadline):
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                has_answered = True
                return found

    return ask_again


async def answers(batches: Iterable[Batch], ask: Ask, *, concurrency: int) -> AsyncIterator[Answered]:
    """The answers in the order of the batches; only `concurrency` batches are in memory at a time.

    Raises:
        ClientError: what is wrong with more than a row.
    """
    waiting: deque[asyncio.Task[Answered]] = deque()
    try:
        for batch in batches:
            waiting.append(asyncio.create_task(_answer(batch, ask)))
            await asyncio.sleep(0)  # it sends before the next batch is read
            if len(waiting) >= concurrency:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _answer(batch: Batch, ask: Ask) -> Answered:
    """Ask again without each row that is refused, until the others are answered."""
    rows, numbers, bad = list(batch.rows), list(batch.numbers), list(batch.bad)
    files = None if batch.files is None else list(batch.files)
    while rows:
        try:
            predictions = await ask(batch.rows if len(rows) == len(batch.rows) else rows)
        except ServerError as error:
            place = error.row
            if place is None or error.status not in _OF_ROWS:
                raise
            file = "" if files is None else f"{files.pop(place)}: "
            bad.append(BadRow(numbers.pop(place), f"{file}{_why(error)}"))
            del rows[place]
        else:
            return Answered(numbers, files, predictions, _in_order(bad), batch.done)
    return Answered([], files, [], _in_order(bad), batch.done)


def _in_order(bad: list[BadRow]) -> list[BadRow]:
    return sorted(bad, key=lambda row: row.number)


def _why(error: ServerError) -> str:
    place = error.pointer.removeprefix("/instances/").partition("/")[2]
    return f"{error.code}{f' at {place}' if place else ''}: {_ROW.sub('it', error.detail)}"
