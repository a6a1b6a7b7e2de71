"""The memory that worker processes share: one page each, made before they are forked.

It is anonymous, so it has no name, no file to clean up, and goes with the last process. Any worker can add up all
pages. The page of a worker that ended goes to its successor, which counts on where it stopped.
"""

from __future__ import annotations

import mmap

from service.telemetry import layout


class Ledger:
    """Pages of floats; without numpy, because the supervisor, which makes it, forks before it has any library.

    Attributes:
        memory: all pages one after the other; nothing of it takes real memory before it is touched.
        pages: how many.
    """

    def __init__(self, pages: int) -> None:
        self.memory = mmap.mmap(-1, pages * layout.PAGE_BYTES)
        self.pages = pages

    def clear_gauges(self, page: int) -> None:
        """A worker has ended: what it had in hand is gone, what it counted stays."""
        start = page * layout.PAGE_BYTES + 8 * layout.WORKER.offsets["gauges"]
        self.memory[start : start + 8 * len(layout.GAUGES)] = bytes(8 * len(layout.GAUGES))
