"""Requests at a given rate over many connections, whatever the answers do (an open loop), and what came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np


@dataclass(slots=True)
class Seen:
    """What the clients saw.

    Attributes:
        seconds: status → from the time a request was due to the end of its answer, a value an answer.
        moments: status → when each answer came, by the monotonic clock.
        advised: refusals (429, 503) with a Retry-After.
        unsent: requests that were due while every connection waited for an answer.
        lost: requests without an answer.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    moments: dict[int, list[float]] = field(default_factory=dict)
    advised: int = 0
    unsent: int = 0
    lost: int = 0

    def count(self, status: int) -> int:
        return len(self.seconds.get(status, ()))

    def percentile(self, status: int, percent: float) -> float:
        found = self.seconds.get(status)
        return float(np.percentile(found, percent)) if found else float("nan")


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request in flight."""

    def __init__(self, seen: Seen, idle: list[_Connection]) -> None:
        self._seen, self._idle = seen, idle
        self._buffer = b""
        self._due: float | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass of it
        self._idle.append(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._due is not None:
            self._seen.lost += 1
        elif self in self._idle:
            self._idle.remove(self)

    def send(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        start = lowered.index(b"content-length:") + 15
        if len(rest) < int(lowered[start:].split(b"\r\n", 1)[0]):
            return
        self._note(int(head[9:12]), b"\nretry-after:" in lowered)
        self._buffer, self._due = b"", None
        self._idle.append(self)

    def _note(self, status: int, advised: bool) -> None:
        assert self._due is not None
        now = time.monotonic()
        self._seen.seconds.setdefault(status, []).append(now - self._due)
        self._seen.moments.setdefault(status, []).append(now)
        self._seen.advised += advised


async def offer(port: int, requests: Sequence[bytes], *, rate: float, seconds: float, connections: int) -> Seen:
    """Send `rate` requests a second, evenly, for `seconds`; then wait up to 10 s for the answers that are missing."""
    seen, idle = Seen(), list[_Connection]()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(seen, idle), "127.0.0.1", port)
    everybody = list(idle)
    began, sent, total = time.monotonic(), 0, int(rate * seconds)
    while sent < total:
        due_by_now = min(total, int((time.monotonic() - began) * rate))
        while sent < due_by_now:
            if idle:
                # The longest idle first, so that all connections are used.
                idle.pop(0).send(requests[sent % len(requests)], began + sent / rate)
            else:
                seen.unsent += 1
            sent += 1
        await asyncio.sleep(0.001)
    for _ in range(1000):
        if len(idle) + seen.lost >= connections:
            break
        await asyncio.sleep(0.01)
    for one in everybody:
        one.close()
    return seen


async def saturate(port: int, requests: Sequence[bytes], *, seconds: float, connections: int) -> float:
    """Answers a second with 200 while each of `connections` sends its next request as soon as it has an answer."""
    seen, idle = Seen(), list[_Connection]()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(seen, idle), "127.0.0.1", port)
    everybody, sent, began = list(idle), 0, time.monotonic()
    while time.monotonic() - began < seconds:
        for connection in idle[:]:
            idle.remove(connection)
            connection.send(requests[sent % len(requests)], time.monotonic())
            sent += 1
        await asyncio.sleep(0)
    for one in everybody:
        one.close()
    assert seen.count(200), "nothing was answered"
    return seen.count(200) / seconds
