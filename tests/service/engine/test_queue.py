"""Who waits → the next run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.queue import LENGTH_RATIO, Piece, Queue, Ticket
from service.reading.body import ClientGone

CAP = 10


class Here:
    """A caller who stays until `gone` is set."""

    gone = False

    def has_left(self) -> bool:
        return self.gone

    def is_alone(self) -> bool:
        return False

    def seconds_left(self) -> float | None:
        return None


def ticket(rows: int, *, width: int = 1, widths: list[int] | None = None) -> Ticket:
    made = Ticket({"x": np.zeros((rows, 2))}, rows, Here(), asyncio.get_running_loop().create_future())
    made.width = width
    if widths is not None:
        made.widths = np.array(sorted(widths))
    return made


def runs(queue: Queue) -> list[list[Piece]]:
    """All runs until nobody waits."""
    found = []
    while queue:
        pieces, rows, _ = queue.take()
        assert rows == sum(piece.stop - piece.start for piece in pieces)
        found.append(pieces)
    return found


def in_a_loop(scenario: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(scenario())  # type: ignore[arg-type]  # scenarios are coroutine functions


@given(st.lists(st.integers(1, 35), min_size=1, max_size=20))
def test_every_row_runs_once_and_no_run_is_over_the_cap(sizes: list[int]) -> None:
    """Whatever comes."""

    async def scenario() -> None:
        queue, tickets = Queue(CAP), [ticket(size) for size in sizes]
        for one in tickets:
            queue.add(one)
        seen: Counter[tuple[int, int]] = Counter()
        for pieces in runs(queue):
            assert 0 < sum(piece.stop - piece.start for piece in pieces) <= CAP
            for piece in pieces:
                seen.update((id(piece.ticket), row) for row in range(piece.start, piece.stop))
                assert piece.is_whole or piece.ticket.rows > CAP
        assert seen == Counter((id(one), row) for one in tickets for row in range(one.rows))

    in_a_loop(scenario)


def test_a_huge_request_does_not_starve_small_ones() -> None:
    """It has one turn, then everybody else, then its next."""

    async def scenario() -> list[list[int]]:
        queue = Queue(CAP)
        for size in (95, 1, 2, 3):
            queue.add(ticket(size))
        return [[piece.ticket.rows for piece in pieces] for pieces in runs(queue)]

    found = in_a_loop(scenario)
    assert found[0] == [95]
    assert found[1] == [1, 2, 3, 95]
    assert all(pieces == [95] for pieces in found[2:])


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=12))
def test_texts_share_a_run_with_texts_of_their_length(requests: list[list[int]]) -> None:
    """Padded to the longest, a run is within the cap unless it is one text."""
    cap = 100

    async def scenario() -> None:
        queue, count = Queue(cap), 0
        for widths in requests:
            is_long = len(widths) * max(widths) > cap and len(widths) > 1
            queue.add(ticket(len(widths), width=max(widths), widths=widths if is_long else None))
            count += len(widths)
        for pieces in runs(queue):
            rows = sum(piece.stop - piece.start for piece in pieces)
            width = max(piece.width for piece in pieces)
            assert rows * width <= cap or rows == 1
            assert width <= min(piece.width for piece in pieces) * LENGTH_RATIO**2
            count -= rows
        assert count == 0

    in_a_loop(scenario)


def test_a_caller_who_left_while_another_run_went_on_is_not_run() -> None:
    """Whoever has just come is not asked, because that costs as much as a small answer."""

    async def scenario() -> None:
        queue = Queue(CAP)
        first, late, fresh = ticket(10), ticket(3), ticket(3)
        queue.add(first)
        queue.add(late)
        assert [piece.ticket for piece in queue.take()[0]] == [first]
        queue.end_run()
        queue.add(fresh)
        for one in (late, fresh):
            one.caller.gone = True  # type: ignore[attr-defined]  # of `Here`
        assert [piece.ticket for piece in queue.take()[0]] == [fresh]
        with pytest.raises(ClientGone):
            late.future.result()

    in_a_loop(scenario)


def test_a_cancelled_request_is_not_run() -> None:
    """Nor what it left behind."""

    async def scenario() -> None:
        queue, one = Queue(CAP), ticket(3)
        queue.add(one)
        one.future.cancel()
        assert queue.take() == ([], 0, 1)
        assert not queue

    in_a_loop(scenario)
