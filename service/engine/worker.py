"""Work of one request → on the event loop when short, in one thread beside it when long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

INLINE_BYTES = 32 * 1024
"""Bodies up to this size are worked on at once. Ten MNIST rows take about 3 ms, which no other request notices;
a hop to the thread and back costs two wake-ups for each of the many small requests."""

T = TypeVar("T")


class Worker:
    """One thread, so that long requests wait for each other and never for more CPU than inference is given."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    async def run(self, work: Callable[[], T], *, body_bytes: int) -> T:
        """`work()`, wherever its size says."""
        if body_bytes <= INLINE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
