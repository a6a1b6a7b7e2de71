"""What the engine tells of each run: whoever counts it stands above the engine and is handed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Run(Protocol):
    """One run, as whoever made it knows it: `service.answer.Results`."""

    @property
    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity in its outputs."""

    @property
    def outputs(self) -> Any:
        """`service.outputs`: of every class, or of the most probable ones; `novelty`, float32 [N] or None."""

    @property
    def remarks(self) -> Any:
        """(member, input) → bool [N]."""


class Meter(Protocol):
    """Counts for one session: `service.telemetry.meter.Meter`."""

    def answered(self, route: int, status: int, seconds: float) -> None:
        """A request was answered; `route` is the number of one that asks a version."""

    def waited(self, waits: Iterable[float]) -> None:
        """Requests have their turn, after so many seconds in the queue."""

    def ran(self, run: Run, tensors: Any, seconds: float, *, lasts: bool) -> None:
        """A run has ended: what it gave, what it was given, which may last, and the seconds in onnxruntime."""

    @property
    def is_due(self) -> bool:
        """Whether enough runs wait for `settle`."""

    def settle(self) -> None:
        """Count the runs that wait."""


class Unmetered:
    """In place of a meter where nothing is counted."""

    is_due = False

    def answered(self, route: int, status: int, seconds: float) -> None:
        pass

    def waited(self, waits: Iterable[float]) -> None:
        pass

    def ran(self, run: Run, tensors: Any, seconds: float, *, lasts: bool) -> None:
        pass

    def settle(self) -> None:
        pass


UNMETERED = Unmetered()
