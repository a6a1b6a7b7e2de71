"""Requests for one session → runs of it, each with everything that has arrived by then.

Nothing waits for a clock. The first arrival asks for a run in the loop's next turn; while a run goes on, arrivals
queue, and the next run takes them all up to a cap. So an idle service adds no wait, and the busier it is, the larger
its runs are.
"""

from __future__ import annotations

import asyncio
import functools
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from clipmax.inputs import HistoryInput, Tensor, TextInput
from clipmax.problems import Problem
from service import threads
from service.answer import Results, Share, Words, remarks
from service.engine.metering import UNMETERED, Meter
from service.engine.pace import Pace
from service.engine.queue import Caller, Piece, Queue, Tensors, Ticket
from service.engine.session import Session
from service.engine.worker import Worker
from service.reading.body import ClientGone

ROWS = 256
"""Most rows of one run."""

CODE_POINTS = 2400
"""Most padded code points, or purchases, of one run of a model that reads texts or histories; a single one may be
longer."""

INLINE_SECONDS = 0.0006
"""Runs up to this long are made on the event loop. On two cores the turning point lies between 0.3 ms, where the hop
to the thread and back costs more than it gains, and 1.1 ms, where the loop can read many requests meanwhile."""

INLINE_SECONDS_ON_ONE_CPU = 0.003
"""The same where nothing can run beside the loop anyway: up to this long, requests do not mind waiting."""

Note = Callable[[int, float], None]


class Batchers:
    """One batcher for each session, for as long as the session is in use.

    Args:
        worker: the thread for long runs, of all sessions.
        note: told of each run, see `Batcher`.
        meter_of: where the runs of a session are counted.
    """

    def __init__(self, worker: Worker, note: Note, meter_of: Callable[[Session], Meter]) -> None:
        self._worker = worker
        self._note = note
        self._meter_of = meter_of
        self._batchers: WeakKeyDictionary[Session, Batcher] = WeakKeyDictionary()

    def of(self, session: Session) -> Batcher:
        batcher = self._batchers.get(session)
        if batcher is None:
            meter = self._meter_of(session)
            batcher = self._batchers[session] = Batcher(session, self._worker, self._note, meter)
        return batcher

    def settle(self) -> None:
        """Count what was not counted yet, as whoever reads the counts, or is about to end, asks."""
        for batcher in self._batchers.values():
            batcher.settle()


class Batcher:
    """The queue before one session; `submit` is for the event loop's thread.

    A row's answer does not depend on the other rows of its run: rows are independent in the graph, a run that fails
    is repeated for each request by itself, and what a request asked for is picked out afterwards. A request of more
    rows than a run takes has one turn after another with the others in between.

    Args:
        session: what runs.
        worker: the thread for long runs.
        note: told rows and seconds, everything around them included, of each run that others waited for.
        meter: counts runs.

    Attributes:
        words: of the session, for writing answers.
    """

    def __init__(self, session: Session, worker: Worker, note: Note, meter: Meter = UNMETERED) -> None:
        self.words = Words(session.manifest, session.provider)
        # Weak, or the batcher would keep the session that it is kept by; whoever waits for an answer holds it.
        self._session = weakref.ref(session)
        self._worker = worker
        self._note = note
        self._meter = meter
        self._inputs = session.manifest.inputs
        self._first = self._inputs[0].name
        self._texts = {one.name: one for one in self._inputs if isinstance(one, TextInput | HistoryInput)}
        self._cap = CODE_POINTS if self._texts else ROWS
        self._queue = Queue(self._cap)
        self._pace = Pace()
        self._pages: dict[str, Tensor] = {}
        self._inline_seconds = INLINE_SECONDS if threads.available() > 1 else INLINE_SECONDS_ON_ONE_CPU
        # In the thread a run waits for Python's lock at its end, which must not make it look long for ever after.
        self._clock = time.thread_time if session.provider == "cpu" else time.perf_counter
        self._is_busy = False
        self._left_behind: tuple[int, float] | None = None

    def rows(self, tensors: Tensors) -> int:
        """How many rows a request has."""
        return len(tensors[self._first])

    def answer(self, tensors: Tensors, caller: Caller) -> Share | None:
        """Run a request at once: where it came alone, nothing else waits or runs, and the run is short; else None.

        The same as `submit` would do, without a place in the queue and a turn of the event loop.

        Raises:
            Exception: what the session raises for these rows.
        """
        if self._is_busy or not caller.is_alone() or caller.seconds_left() is not None:
            return None
        size = rows = self.rows(tensors)
        if self._texts:
            size *= max(tensors[name].shape[1] for name in self._texts)
        if size > self._cap or self._pace.expected(size) > self._inline_seconds:
            return None
        self._meter.waited((0.0,))
        results = self._timed(tensors, size, time.perf_counter, lasts=True)
        self._count_soon()
        return Share(results, 0, rows)

    def settle(self) -> None:
        """Count what was not counted yet."""
        self._meter.settle()

    def submit(self, tensors: Tensors, caller: Caller) -> asyncio.Future[Share]:
        """Queue a request.

        Args:
            tensors: by input name, N ≥ 1 rows each, as the session's `run` takes them.
            caller: asked before a run whether it is still there.

        Returns:
            A future of the request's share; cancelling it takes the request out of the queue. It fails with Problem
            DEADLINE, ClientGone, or what the session raises for these rows.
        """
        loop = asyncio.get_running_loop()
        ticket = Ticket(tensors, self.rows(tensors), caller, loop.create_future())
        if self._texts:
            _measure(ticket, self._texts, self._cap)
        seconds = caller.seconds_left()
        if seconds is not None:
            _limit(ticket.future, seconds, loop)
        self._queue.add(ticket)
        if not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._flush)
        return ticket.future

    def _flush(self) -> None:
        """Run whatever waits, here if that is short."""
        pieces, rows, width = self._queue.take()
        if not pieces:
            self._is_busy, self._left_behind = False, None
            return
        self._keep_time(rows)
        now = time.perf_counter()
        self._meter.waited([now - piece.ticket.since for piece in pieces])
        size = rows * width
        if self._pace.expected(size) <= self._inline_seconds:
            self._deliver(self._run(pieces, size))
        else:
            self._worker.start(functools.partial(self._run, pieces, size), self._deliver)

    def _keep_time(self, rows: int) -> None:
        """While somebody always waits, the time from run to run is what a place in the queue costs."""
        now = time.perf_counter()
        if self._left_behind is not None:
            before, began = self._left_behind
            self._note(before, now - began)
        self._left_behind = (rows, now) if self._queue else None

    def _deliver(self, shares: Sequence[tuple[Ticket, Share | Exception]]) -> None:
        self._queue.end_run()
        for ticket, share in shares:
            _give(ticket, share)
        self._count_soon()
        if self._queue:
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._is_busy, self._left_behind = False, None

    def _count_soon(self) -> None:
        """Count the runs that wait for it, if they are enough, once the answers are on their way."""
        if self._meter.is_due:
            asyncio.get_running_loop().call_soon(self._meter.settle)

    # What may be in the worker's thread, one run at a time

    def _run(self, pieces: Sequence[Piece], size: int) -> list[tuple[Ticket, Share | Exception]]:
        try:
            tensors = {one.name: self._gather(one.name, pieces) for one in self._inputs}
            results = self._timed(tensors, size, self._clock, lasts=len(pieces) == 1)
        except Exception as error:  # noqa: BLE001  # onnxruntime has a class for each status; whoever is guilty gets it
            if len(pieces) == 1:
                return [(pieces[0].ticket, error)]
            return [share for piece in pieces for share in self._run([piece], size)]
        return _shares(results, pieces)

    def _timed(self, tensors: Tensors, size: int, clock: Callable[[], float], *, lasts: bool) -> Results:
        """One run, timed and told to the meter; `lasts`: no other run will use the memory of the tensors."""
        began = clock()
        session = self._session()
        if session is None:
            raise ClientGone
        found = remarks(self._inputs, tensors)  # before the run, while the rows are in the processor's cache
        entered = time.perf_counter()
        outputs = session.run(tensors)
        left = time.perf_counter()
        results = Results(self.words, outputs, found)
        results.span = (entered, left)
        self._pace.note(size, clock() - began)
        self._meter.ran(results, tensors, left - entered, lasts=lasts)
        return results

    def _gather(self, name: str, pieces: Sequence[Piece]) -> Tensor:
        """One input of all pieces, below each other."""
        if name in self._texts:
            return _padded([piece.tensors[name][:, : piece.width] for piece in pieces])
        if len(pieces) == 1:
            return pieces[0].tensors[name]
        parts = [piece.tensors[name] for piece in pieces]
        rows = sum(map(len, parts))
        return np.concatenate(parts, out=self._page(name, parts[0])[:rows])

    def _page(self, name: str, like: Tensor) -> Tensor:
        """Memory that every run uses again, so that it stays in the processor's cache."""
        page = self._pages.get(name)
        if page is None:
            page = self._pages[name] = np.empty((self._cap, *like.shape[1:]), like.dtype)
        return page


def _limit(future: asyncio.Future[Share], seconds: float, loop: asyncio.AbstractEventLoop) -> None:
    timer = loop.call_later(seconds, _expire, future)
    future.add_done_callback(lambda _: timer.cancel())


def _expire(future: asyncio.Future[Share]) -> None:
    if not future.done():
        future.set_exception(Problem("DEADLINE", "the answer was not ready in the time that the request gave it"))


def _measure(ticket: Ticket, texts: Mapping[str, TextInput | HistoryInput], cap: int) -> None:
    """How long its texts and histories are; where one run cannot take them all, sort the rows by that."""
    ticket.width = max(ticket.tensors[name].shape[1] for name in texts)
    if ticket.rows == 1 or ticket.rows * ticket.width <= cap:
        return
    widths = np.maximum.reduce([schema.lengths(ticket.tensors[name]) for name, schema in texts.items()])
    ticket.order = np.argsort(widths, kind="stable")
    ticket.widths = widths[ticket.order]
    ticket.tensors = {name: tensor[ticket.order] for name, tensor in ticket.tensors.items()}


def _padded(parts: Sequence[Tensor]) -> Tensor:
    width = max(part.shape[1] for part in parts)
    page = np.zeros((sum(map(len, parts)), width, *parts[0].shape[2:]), dtype=parts[0].dtype)
    start = 0
    for part in parts:
        page[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return page


def _shares(results: Results, pieces: Sequence[Piece]) -> list[tuple[Ticket, Share | Exception]]:
    shares: list[tuple[Ticket, Share | Exception]] = []
    start = 0
    for ticket, first, last in pieces:
        stop = start + last - first
        shares.append((ticket, Share(results, start, stop)))
        start = stop
    return shares


def _give(ticket: Ticket, share: Share | Exception) -> None:
    """Answer a request, if this is all of it and it still waits."""
    if ticket.future.done():
        return
    if isinstance(share, Exception):
        ticket.future.set_exception(share)
        return
    if share.stop - share.start < ticket.rows:
        ticket.parts += (share,)
        if sum(part.stop - part.start for part in ticket.parts) < ticket.rows:
            return
        share = _joined(ticket)
    ticket.future.set_result(share)


def _joined(ticket: Ticket) -> Share:
    """What several runs gave, in the order of the request's rows."""
    parts = ticket.parts
    order = slice(None) if ticket.order is None else np.argsort(ticket.order)
    outputs = parts[0].outputs.joined([part.outputs for part in parts]).of(order)
    found = {name: np.concatenate([part.remarks[name] for part in parts])[order] for name in parts[0].results.remarks}
    results = parts[0].results.like(outputs, found)
    results.span = (parts[0].results.span[0], parts[-1].results.span[1])
    return Share(results, 0, ticket.rows)
