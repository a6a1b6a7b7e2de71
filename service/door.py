"""New connections on a port that several workers share → the worker that has the fewest.

All workers wait for one listening socket, so that nothing is lost with a worker and an idle one takes what a busy
one leaves. Left to the kernel, the one that happens to wake first takes nearly all. So a worker that is ahead of the
others lets a moment pass in which they may take the next connection, and then takes it itself.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections.abc import Callable

_LEAD = 2
"""So many connections more than the worker that has fewest are ahead."""

_PAUSE_SECONDS = 0.005
_AWAY = -1
_BYTES = 4


class Crowd:
    """How many connections each of several workers has, in memory that they share."""

    def __init__(self, workers: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, _BYTES * workers)).cast("i")
        for page in range(workers):
            self.leave(page)

    def note(self, page: int, connections: int) -> None:
        """Worker `page`, from 0, serves and has so many."""
        self._counts[page] = connections

    def leave(self, page: int) -> None:
        """Worker `page` takes none."""
        self._counts[page] = _AWAY

    def counts(self) -> list[int]:
        """Of each worker that serves."""
        return [count for count in self._counts.tolist() if count != _AWAY]

    def is_ahead(self, connections: int) -> bool:
        """Whether somebody with so many should let the others go first."""
        return connections >= min(self.counts(), default=connections) + _LEAD


class Door:
    """One worker's way to the connections of the shared socket.

    Args:
        listener: the shared socket; it stays open when the door closes.
        take: told of each new connection; returns how many this worker then has.
        crowd: all workers'.
        page: this worker's number in it.
    """

    def __init__(
        self, listener: socket.socket, take: Callable[[socket.socket | None], int], crowd: Crowd, page: int
    ) -> None:
        self._listener = listener
        self._take = take
        self._crowd = crowd
        self._page = page
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listener.settimeout(0)
        self._crowd.note(page, take(None))
        self._loop.add_reader(listener, self._look)

    def close(self) -> None:
        """As a server of asyncio."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        self._crowd.leave(self._page)

    async def wait_closed(self) -> None:
        """As a server of asyncio; what was taken is no longer the door's."""

    def _look(self) -> None:
        if self._crowd.is_ahead(self._take(None)):
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_PAUSE_SECONDS, self._look_again)
        else:
            self._accept()

    def _look_again(self) -> None:
        self._pause = None
        self._accept()
        self._loop.add_reader(self._listener, self._look)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # another worker was quicker, the client has gone, or there is no descriptor left
            return
        self._crowd.note(self._page, self._take(connection))
