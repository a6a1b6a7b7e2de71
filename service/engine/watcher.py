"""Time → looks at what may have changed on disk, in a thread of its own beside the serving ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from service import logs

_LONGEST_STOP_SECONDS = 10.0


class Watcher:
    """Looks again and again; what a look raises is logged and the next one is made all the same.

    Stat calls rather than notifications of the kernel: those do not come from network volumes, and a mounted
    Kubernetes volume changes by links. A look at a hundred versions takes about two milliseconds.

    Args:
        interval_seconds: between two looks; 0: never look.
        looks: what to do each time, in this order.
    """

    def __init__(self, interval_seconds: float, looks: Sequence[Callable[[], object]]) -> None:
        self._interval = interval_seconds
        self._looks = looks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch")

    def start(self) -> None:
        if self._interval > 0:
            self._thread.start()

    def stop(self) -> None:
        """Returns once the look that is being made has ended, or after ten seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_STOP_SECONDS)

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            for look in self._looks:
                self._look(look)

    def _look(self, look: Callable[[], object]) -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001  # whatever it was, the next look may succeed
            logs.failure("watching failed", error)
