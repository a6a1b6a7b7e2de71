"""A request's bytes → tensors → its share of a run, within the budget: what V1 and V2 have in common."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.admission import Admission, Bounds
from service.answer import Share, Words
from service.engine.batcher import Batchers
from service.engine.queue import Tensors
from service.engine.session import Session
from service.engine.worker import Worker
from service.exchange import Exchange
from service.reading import body as bodies
from service.reading.v1 import Limits
from service.telemetry.telemetry import Silence, Telemetry

T = TypeVar("T")


class Inference:
    """One for a process.

    Two threads, because reading holds Python's lock and would keep the runs waiting: one reads long bodies, the
    other makes long runs.

    Attributes:
        limits: of one request.
        admission: of all together.
    """

    def __init__(self, limits: Limits, bounds: Bounds, telemetry: Telemetry | Silence) -> None:
        self.limits = limits
        self.admission = Admission(bounds)
        self.reading = Worker("reading")
        self._running = Worker("running")
        self._batchers = Batchers(self._running, self.admission.note, telemetry.meter)

    def body(self, exchange: Exchange) -> bytes | Awaitable[bytes]:
        """The whole body, at once if it is here, unless the queue is full or the request is refused before its end.

        Raises:
            Problem: QUEUE_FULL, PARAMETER (the deadline), BODY_TOO_LARGE.
            ClientGone: the connection ended before the body did.
        """
        admission = self.admission
        admission.check()
        exchange.read_deadline()
        if admission.asks_for_clients:
            exchange.client = exchange.named_client()
        limit, charge = self.limits.max_body_bytes, functools.partial(admission.charge_bytes, exchange)
        bodies.check_length(exchange.headers, limit)
        whole = exchange.whole_body()
        if whole is not None:
            return bodies.checked(whole, limit, charge)
        return bodies.read(exchange.receive, exchange.headers, limit=limit, charge=charge)

    async def read(self, work: Callable[[], T], *, body_bytes: int) -> T:
        """What a reader makes of a body, here or in the reading thread."""
        return await self.reading.run(work, body_bytes=body_bytes)

    def submit(self, session: Session, tensors: Tensors, exchange: Exchange) -> Share | asyncio.Future[Share]:
        """Have a request run by the session: at once if it may be, see `Batcher.answer`, else in its turn.

        Raises:
            Problem: QUEUE_FULL.
        """
        batcher = self._batchers.of(session)
        self.admission.charge_rows(exchange, batcher.rows(tensors))
        held = sum(tensor.nbytes for tensor in tensors.values())
        if held > exchange.body_bytes:  # texts are padded to the longest
            self.admission.charge_bytes(exchange, held - exchange.body_bytes)
        if exchange.trace is not None:
            exchange.trace.submitted = time.perf_counter()
        found = batcher.answer(tensors, exchange) or batcher.submit(tensors, exchange)
        if exchange.trace is not None:
            exchange.trace.follow(found)
        return found

    def words(self, session: Session) -> Words:
        """The parts of a V1 answer that are the same in all of a session's answers."""
        return self._batchers.of(session).words

    def settle(self) -> None:
        """Bring the counts of the telemetry up to date."""
        self._batchers.settle()

    def close(self) -> None:
        self.settle()
        self.reading.close()
        self._running.close()
