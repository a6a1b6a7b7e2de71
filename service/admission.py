"""What is read and waits at present → whether more is taken, and when to come again if not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from clipmax.problems import Problem

_WEIGHT = 0.1
"""Of the newest measurement in the running mean of a row's time."""

_FIRST_GUESS_SECONDS = 0.0001
"""For a row, until a busy queue has shown what it takes."""

_LONGEST_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be read and wait; 0 for a client: no bound of its own."""

    rows: int
    body_bytes: int
    client_rows: int


class Place(Protocol):
    """One request, with what it has been charged so far."""

    client: bytes
    body_bytes: int
    rows: int


class Admission:
    """The budget of one process, charged before memory is taken and paid back when a request is answered.

    A single request is always taken, however large: its own limits bound it.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._rows = 0
        self._bytes = 0
        self._client_rows: dict[bytes, int] = {}
        self._seconds_per_row = _FIRST_GUESS_SECONDS

    @property
    def rows(self) -> int:
        """Rows that wait or run."""
        return self._rows

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies that are being read, wait or run."""
        return self._bytes

    @property
    def asks_for_clients(self) -> bool:
        """Whether places need their client's name."""
        return self._bounds.client_rows > 0

    def check(self) -> None:
        """Refuse before anything is read where the queue is full already.

        Raises:
            Problem: QUEUE_FULL.
        """
        if self._rows >= self._bounds.rows or self._bytes >= self._bounds.body_bytes:
            raise self._full("the queue is full")

    def charge_bytes(self, place: Place, count: int) -> None:
        """Bytes of a body have arrived.

        Raises:
            Problem: QUEUE_FULL.
        """
        if self._bytes + count > self._bounds.body_bytes and self._bytes > place.body_bytes:
            raise self._full("too many bytes of other requests wait")
        self._bytes += count
        place.body_bytes += count

    def charge_rows(self, place: Place, count: int) -> None:
        """Rows are about to queue.

        Raises:
            Problem: QUEUE_FULL.
        """
        if self._rows + count > self._bounds.rows and self._rows:
            raise self._full("too many rows of other requests wait")
        if self._bounds.client_rows:
            self._charge_client(place.client, count)
        self._rows += count
        place.rows += count

    def release(self, place: Place) -> None:
        """The request is answered, or nobody waits for it any more."""
        self._bytes -= place.body_bytes
        self._rows -= place.rows
        if self._bounds.client_rows and place.rows:
            left = self._client_rows[place.client] - place.rows
            if left:
                self._client_rows[place.client] = left
            else:
                del self._client_rows[place.client]

    def note(self, rows: int, seconds: float) -> None:
        """While others waited, a run of `rows` rows took so long with everything around it."""
        self._seconds_per_row += _WEIGHT * (seconds / rows - self._seconds_per_row)

    def _charge_client(self, client: bytes, count: int) -> None:
        held = self._client_rows.get(client, 0)
        if held and held + count > self._bounds.client_rows:
            raise self._full("too many rows of this client wait")
        self._client_rows[client] = held + count

    def _full(self, why: str) -> Problem:
        """With the time in which what waits now will have been answered."""
        seconds = min(self._rows * self._seconds_per_row, _LONGEST_WAIT_SECONDS)
        return Problem("QUEUE_FULL", why, retry_after_seconds=max(1, math.ceil(seconds)))
