"""One object for everything that is counted: the parts of the service tell it what they did, `GET /metrics` asks it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakSet

import numpy as np

from service.engine import metering
from service.engine.catalog import Catalog
from service.engine.session import Session
from service.telemetry import exposition, layout, route
from service.telemetry.ledger import Ledger
from service.telemetry.meter import Floats, Meter, observe
from service.telemetry.metric import LATENCY_SECONDS
from service.telemetry.sums import Facts, Key, Sums

_BUSY_SECONDS = 5.0
"""Time over which the busy ratio is a running mean."""

_PREDICT, _LAST = len(route.PREDICT), layout.CELLS - 1


class Asked(Protocol):
    """A request, as its exchange knows it."""

    began: float
    session: Session | None

    @property
    def route(self) -> int:
        """Number of its route's template."""


class Hand(Protocol):
    """What is being read, waits and runs at present: `service.admission.Admission`."""

    @property
    def rows(self) -> int: ...

    @property
    def body_bytes(self) -> int: ...


class Telemetry:
    """The counts of one process in the ledger, and the sums over all of it. All but `exposition` is for the event loop.

    Args:
        catalog: whose versions are counted.
        ledger: shared with other processes; None: of this one alone.
        page: this process's page in it.
        window_seconds: length of a window of the drift.
    """

    def __init__(self, catalog: Catalog, *, ledger: Ledger | None = None, page: int = 0, window_seconds: float) -> None:
        shared = ledger or Ledger(1)
        pages = np.frombuffer(shared.memory, np.float64).reshape(shared.pages, layout.CELLS, layout.CELL)
        self._catalog = catalog
        self._window_seconds = window_seconds
        self._cells: Floats = pages[page]
        worker = self._cells[0]
        self._count = layout.WORKER.view(worker, "cells")
        self._gauges = layout.scalars(layout.WORKER.view(worker, "gauges"))
        self._abandoned = layout.scalars(layout.WORKER.view(worker, "abandoned"))
        self._problems = layout.scalars(layout.WORKER.view(worker, "problems"))
        self._requests = layout.WORKER.view(worker, "requests")
        self._latency = layout.WORKER.view(worker, "latency")
        self._meters: WeakSet[Meter] = WeakSet()
        self._facts: dict[Key, Facts] = {}
        self._sums = Sums(pages, window_seconds)
        self._in_progress = 0
        self._busy = 0.0
        self._sampled = (time.perf_counter(), time.thread_time(), 0.0)
        layout.WORKER.view(worker, "starts")[0] += 1

    # What the parts of the service did

    def began(self) -> None:
        """A request has come."""
        self._in_progress += 1

    def ended(self) -> None:
        """It is done with, one way or another."""
        self._in_progress -= 1

    def answered(self, asked: Asked, status: int) -> None:
        """An answer is about to be written."""
        number, session, seconds = asked.route, asked.session, time.perf_counter() - asked.began
        if session is not None and number < _PREDICT:
            (session.meter or self.meter(session)).answered(number, status, seconds)
        else:
            self._requests[number, layout.status_place(status)] += 1
            observe(self._latency[number, layout.class_place(status)], LATENCY_SECONDS, seconds)

    def refused(self, status: int, code: str) -> None:
        """The server has answered by itself, before there was a request for the application."""
        self._requests[route.NOWHERE, layout.status_place(status)] += 1
        self.failed(code)

    def failed(self, code: str) -> None:
        """A problem is answered."""
        self._problems[layout.CODES.index(code)] += 1

    def abandoned(self) -> None:
        """The client left before its answer."""
        self._abandoned[0] += 1

    def meter(self, session: Session) -> metering.Meter:
        """Where runs of a session are counted."""
        if session.meter is None:
            facts = Facts.of(session.manifest)
            self._facts[facts.key] = facts
            if len(self._facts) > layout.CELLS:
                del self._facts[next(iter(self._facts))]
            session.meter = meter = Meter(self._cell(facts.key), session.manifest, self._window_seconds)
            self._meters.add(meter)
        return session.meter

    def follow(self) -> None:
        """The catalog has changed: what serves is there at 0 before the first request."""
        for version in self._catalog.everything():
            if version.session is not None:
                self.meter(version.session)

    def sample(self, hand: Hand) -> None:
        """Take down what is there at present; several times a second."""
        gauges = (self._in_progress, hand.rows, hand.body_bytes, self._busy_ratio(), 1)
        for place, value in enumerate(gauges):
            self._gauges[place] = float(value)

    # What it comes to

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Media type and text of all metrics, over all processes; `accept` is the header of that name. Any thread."""
        versions = self._catalog.everything()
        return exposition.render(accept, self._sums.take(), list(self._facts.values()), versions)

    def _busy_ratio(self) -> float:
        """Of the loop's thread its CPU time, of runs all of theirs, whichever is more; both where they take turns."""
        now, cpu = time.perf_counter(), time.thread_time()
        runs = sum(meter.run_seconds for meter in self._meters)
        began, cpu_before, runs_before = self._sampled
        passed = now - began
        if passed > _BUSY_SECONDS / 50:
            share = min(1.0, max(cpu - cpu_before, runs - runs_before, 0.0) / passed)
            self._busy += (1 - math.exp(-passed / _BUSY_SECONDS)) * (share - self._busy)
            self._sampled = now, cpu, runs
        return self._busy

    def _cell(self, key: Key) -> Floats:
        """The one of this version from before, a new one, that of a version which is gone, or else the last."""
        known = [Key.read(cell) for cell in self._cells[1 : 1 + int(self._count[0])]]
        place = self._place(key, known)
        cell: Floats = self._cells[place]
        if place == _LAST:
            return cell
        if place > len(known) or not known[place - 1].is_like(key):
            cell[:] = 0.0
        elif known[place - 1] != key:  # something else lies in its folder now, perhaps with other labels
            for block in ("labels", "windows"):
                layout.VERSION.view(cell, block)[:] = 0.0
        key.write(cell)
        self._count[0] = max(self._count[0], place)
        return cell

    def _place(self, key: Key, known: Sequence[Key]) -> int:
        live = {(one.name, one.number) for one in self._catalog.everything()}
        own = [place for place, one in enumerate(known, start=1) if one.is_like(key)]
        new = [len(known) + 1] if len(known) + 1 < _LAST else []
        gone = [place for place, one in enumerate(known, start=1) if (one.name, one.number) not in live]
        return [*own, *new, *gone, _LAST][0]


class Silence:
    """In place of `Telemetry` where nothing is counted."""

    def began(self) -> None:
        pass

    def ended(self) -> None:
        pass

    def answered(self, asked: Asked, status: int) -> None:
        pass

    def refused(self, status: int, code: str) -> None:
        pass

    def failed(self, code: str) -> None:
        pass

    def abandoned(self) -> None:
        pass

    def meter(self, session: Session) -> metering.Meter:  # noqa: ARG002  # as Telemetry has it
        return metering.UNMETERED

    def follow(self) -> None:
        pass

    def sample(self, hand: Hand) -> None:
        pass
