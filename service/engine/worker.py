"""Work → on the event loop when short, in one thread beside it when long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

INLINE_BYTES = 32 * 1024
"""Bodies up to this size are read at once. Ten MNIST rows take the exact reader about 3 ms, which no other request
notices; a hop to the thread and back costs two wake-ups for each of the many small requests."""

T = TypeVar("T")


class Worker:
    """One thread, so that long work waits for its like and never takes more CPUs than it is given."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], *, body_bytes: int) -> T:
        """`work()`, wherever the size of the body that it is about says."""
        if body_bytes <= INLINE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def start(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """`work()` in the thread, then `done` with its result on this loop; `work` must not raise."""
        loop = asyncio.get_running_loop()
        self._thread.submit(lambda: loop.call_soon_threadsafe(done, work()))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
