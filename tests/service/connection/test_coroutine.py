"""A coroutine that was begun by hand ends as one that was a task from the start."""

from __future__ import annotations

import asyncio

import pytest

from service.connection.coroutine import rest


async def begun(events: list[asyncio.Future[int]], heard: list[object]) -> None:
    """Waits for each and notes what it gave, an error too."""
    for event in events:
        try:
            heard.append(await event)
        except ValueError as error:
            heard.append(str(error))


def test_results_and_errors_of_what_it_waits_for_reach_it() -> None:
    """The one it waited for when it became a task, and those after it."""

    async def run() -> list[object]:
        events = [asyncio.get_running_loop().create_future() for _ in range(3)]
        heard: list[object] = []
        request = begun(events, heard)
        task = asyncio.ensure_future(rest(request, request.send(None)))
        for number, event in enumerate(events):
            await asyncio.sleep(0)
            if number == 1:
                event.set_exception(ValueError("broken"))
            else:
                event.set_result(number)
        await task
        return heard

    assert asyncio.run(run()) == [0, "broken", 2]


def test_it_can_be_cancelled() -> None:
    """While it waits for what it waited for before it was a task."""

    async def run() -> None:
        request = begun([asyncio.get_running_loop().create_future()], [])
        task = asyncio.ensure_future(rest(request, request.send(None)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
