"""Short work on the loop, long work beside it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.engine.worker import INLINE_BYTES, Worker


def test_only_long_work_leaves_the_event_loop() -> None:
    """And always to the same one thread."""

    async def scenario() -> tuple[int, set[int]]:
        worker = Worker("test")
        short = await worker.run(threading.get_ident, body_bytes=INLINE_BYTES)
        long = await asyncio.gather(*(worker.run(threading.get_ident, body_bytes=INLINE_BYTES + 1) for _ in range(5)))
        worker.close()
        return short, set(long)

    short, long = asyncio.run(scenario())
    assert short == threading.get_ident()
    assert len(long) == 1
    assert short not in long


def test_the_loop_turns_while_long_work_runs() -> None:
    """The work waits for the loop here; on the loop it would wait for ever."""

    async def scenario() -> bool:
        worker, turned = Worker("test"), threading.Event()
        waiting = asyncio.ensure_future(worker.run(lambda: turned.wait(30), body_bytes=INLINE_BYTES + 1))
        await asyncio.sleep(0)
        turned.set()
        found = await waiting
        worker.close()
        return found

    assert asyncio.run(scenario())


def test_what_long_work_raises_arrives() -> None:
    """As if it had been done here."""

    async def scenario() -> None:
        worker = Worker("test")
        try:
            await worker.run(lambda: 1 // 0, body_bytes=INLINE_BYTES + 1)
        finally:
            worker.close()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scenario())
