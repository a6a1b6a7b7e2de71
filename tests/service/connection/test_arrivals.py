"""Whether the event loop has something to read yet, on a real loop and a real pair of sockets."""

from __future__ import annotations

import asyncio
import socket

import uvloop

from service.connection.arrivals import Arrivals


def test_bytes_that_the_loop_has_not_read_are_seen() -> None:
    """As soon as the kernel has them, and no longer once they are read."""

    async def run() -> list[bool]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            received = asyncio.Event()

            def read() -> None:
                ours.recv(1)
                received.set()

            loop.add_reader(ours, read)
            await asyncio.sleep(0)
            arrivals = Arrivals(loop)
            found = [bool(arrivals)]
            theirs.send(b"x")
            found.append(bool(arrivals))
            await received.wait()
            found.append(bool(arrivals))
            loop.remove_reader(ours)
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == [False, True, False]
