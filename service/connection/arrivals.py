"""The event loop → whether bytes or connections wait that it has not seen yet."""

from __future__ import annotations

import asyncio
import select
from typing import Any, cast


class Arrivals:
    """What the event loop has not read yet: bytes on any of its sockets, or a new connection.

    Before its callbacks are through, the loop knows of others only by asking the kernel: what it waits on is
    itself a descriptor, which is readable for as long as something on it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._poll = select.poll()
        self._poll.register(cast("Any", loop)._get_backend_id(), select.POLLIN)  # noqa: SLF001  # uvloop has no other way

    def __bool__(self) -> bool:
        return bool(self._poll.poll(0))
