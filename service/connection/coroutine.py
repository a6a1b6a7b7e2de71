"""A coroutine that was begun without a task → what a task can go on with."""

from __future__ import annotations

import functools
import types
from collections.abc import Coroutine, Generator
from typing import Any


async def rest(request: Coroutine[Any, Any, None], awaited: object) -> None:
    """What is left of a request that has begun outside a task, as a task needs it.

    Args:
        request: a coroutine that was sent `None` once.
        awaited: what it gave, which it waits for.
    """
    await _steps(request, awaited)


@types.coroutine
def _steps(request: Coroutine[Any, Any, None], awaited: object) -> Generator[Any, Any, None]:
    """A coroutine that has begun outside a task and waits for something, from there on."""
    while True:
        try:
            result = yield awaited
        except BaseException as error:  # noqa: BLE001  # whatever it is, a cancellation too, it is the coroutine's
            step = functools.partial(request.throw, error)
        else:
            step = functools.partial(request.send, result)
        try:
            awaited = step()
        except StopIteration:
            return
