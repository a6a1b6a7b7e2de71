"""Requests that wait for one session → the rows of its next run."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from clipmax.inputs import Tensor
from service.answer import Share
from service.reading.body import ClientGone

LENGTH_RATIO = 1.5
"""Texts share a run if none is more than about so many times as long as another: all are padded to the longest."""

Tensors = Mapping[str, Tensor]
Widths = npt.NDArray[np.intp]


class Caller(Protocol):
    """Who waits for an answer."""

    def has_left(self) -> bool:
        """Whether nobody would read it."""

    def is_alone(self) -> bool:
        """Whether no other request is being read or answered, as far as is known."""

    def seconds_left(self) -> float | None:
        """Until the answer is of no use; None: it always is."""


class Ticket:
    """One request in the queue.

    Attributes:
        tensors: by input name, `rows` rows each.
        width: code points that its longest text is padded to; 1 where there are no texts.
        widths: of a request with more texts than a run takes, the length of each; its rows are sorted by it.
        order: of such a request, where each row was before.
        taken: rows that are in runs which have begun.
        era: how many runs had begun and ended when it came.
        turn: its place among all that wait, the lowest first.
        parts: what the runs so far gave, where it takes more than one.
        since: when it came, by `time.perf_counter`.
    """

    width = 1
    widths: Widths | None = None
    order: Widths | None = None
    taken = era = turn = 0
    parts: tuple[Share, ...] = ()

    def __init__(self, tensors: Tensors, rows: int, caller: Caller, future: asyncio.Future[Share]) -> None:
        self.tensors = tensors
        self.rows = rows
        self.caller = caller
        self.future = future
        self.since = time.perf_counter()

    def joinable(self, rows: int, width: int, cap: int) -> int:
        """How many of its next rows fit into a run of `rows` rows so far that are padded to `width`.

        A request that a run can take whole is not cut; an empty run takes at least one row of any.
        """
        left = self.rows - self.taken
        if self.widths is not None:
            return self._joinable_by_length(rows, width, cap)
        width = max(width, self.width)
        room = cap // width - rows
        if left <= room:
            return left
        is_long = self.rows * self.width > cap
        return max(room, 0 if rows else 1) if is_long or not rows else 0

    def _joinable_by_length(self, rows: int, width: int, cap: int) -> int:
        assert self.widths is not None  # noqa: S101  # asked for where it is there
        widths = self.widths[self.taken : self.taken + cap]
        padded = np.maximum(widths, width) * (rows + 1 + np.arange(len(widths)))
        alike = int(np.searchsorted(widths, widths[0] * LENGTH_RATIO, side="right"))
        fitting = min(alike, int(np.searchsorted(padded, cap, side="right")))
        return fitting if rows else max(fitting, 1)


class Piece(NamedTuple):
    """Rows `start` to `stop` of a request that are in a run."""

    ticket: Ticket
    start: int
    stop: int

    @property
    def tensors(self) -> Tensors:
        ticket, rows = self.ticket, slice(self.start, self.stop)
        return ticket.tensors if self.is_whole else {name: tensor[rows] for name, tensor in ticket.tensors.items()}

    @property
    def is_whole(self) -> bool:
        return self.stop - self.start == self.ticket.rows

    @property
    def width(self) -> int:
        widths = self.ticket.widths
        return self.ticket.width if widths is None else int(widths[self.stop - 1])


class Queue:
    """First come, first served, a request longer than a run going to the end after each of its turns.

    Texts of about the same length queue together; whoever has waited longest says which length is next.
    """

    def __init__(self, cap: int) -> None:
        self._eras = 0
        self._cap = cap
        self._turns = 0
        self._lanes: dict[int, deque[Ticket]] = {}

    def __bool__(self) -> bool:
        return any(self._lanes.values())

    def add(self, ticket: Ticket) -> None:
        """To the end."""
        self._turns += 1
        ticket.turn, ticket.era = self._turns, self._eras
        lane = _lane(ticket)
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        waiting.append(ticket)

    def end_run(self) -> None:
        """Who came until now has waited for a run."""
        self._eras += 1

    def take(self) -> tuple[list[Piece], int, int]:
        """What the next run is made of, its rows, and the code points that its texts are padded to.

        Nothing if nobody waits any more: requests that were cancelled, whose time is over or whose callers have left
        are dropped. Only callers who waited for another run are asked: the others have just arrived.
        """
        self._eras += 1
        pieces: list[Piece] = []
        rows, width = 0, 1
        lane = self._next_lane()
        while lane:
            ticket = lane[0]
            if self._is_dead(ticket):
                lane.popleft()
                continue
            count = ticket.joinable(rows, width, self._cap)
            if not count:
                break
            lane.popleft()
            piece = Piece(ticket, ticket.taken, ticket.taken + count)
            ticket.taken += count
            rows, width = rows + count, max(width, piece.width)
            pieces.append(piece)
            if ticket.taken < ticket.rows:
                self.add(ticket)
        return pieces, rows, width

    def _next_lane(self) -> deque[Ticket] | None:
        """The lane of whoever has waited longest and still does."""
        found: deque[Ticket] | None = None
        for lane in self._lanes.values():
            while lane and self._is_dead(lane[0]):
                lane.popleft()
            if lane and (found is None or lane[0].turn < found[0].turn):
                found = lane
        return found

    def _is_dead(self, ticket: Ticket) -> bool:
        if ticket.future.done():
            return True
        if ticket.era == self._eras - 1 or not ticket.caller.has_left():
            return False
        ticket.future.set_exception(ClientGone())
        return True


def _lane(ticket: Ticket) -> int:
    width = ticket.width if ticket.widths is None else int(ticket.widths[ticket.taken])
    return int(math.log(width, LENGTH_RATIO)) if width > 1 else 0
