"""Connections on a shared socket → the workers that take them."""

from __future__ import annotations

import asyncio
import socket

from service.door import Crowd, Door


def test_who_is_away_does_not_count() -> None:
    """A worker that has not opened, or has died, is nobody to wait for."""
    crowd = Crowd(3)
    assert not crowd.is_ahead(100)
    crowd.note(0, 5)
    crowd.note(2, 3)
    assert crowd.counts() == [5, 3]
    assert crowd.is_ahead(5)
    assert not crowd.is_ahead(4)
    crowd.leave(2)
    assert not crowd.is_ahead(5)


class Room:
    """What a worker holds of a shared socket."""

    def __init__(self) -> None:
        self.inside: list[socket.socket] = []

    def take(self, connection: socket.socket | None) -> int:
        if connection is not None:
            self.inside.append(connection)
        return len(self.inside)

    def leave(self) -> None:
        for connection in self.inside:
            connection.close()


async def arrive(port: int, count: int) -> list[socket.socket]:
    found = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    await asyncio.sleep(0.5)
    return found


def shared() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.settimeout(0)
    return listener


def test_doors_of_one_socket_take_about_the_same() -> None:
    """Whoever is two ahead lets the other go first."""

    async def main() -> tuple[int, int]:
        crowd, one, other = Crowd(2), Room(), Room()
        with shared() as listener, listener.dup() as again:
            doors = Door(listener, one.take, crowd, 0), Door(again, other.take, crowd, 1)
            clients = await arrive(listener.getsockname()[1], 40)
            for door in doors:
                door.close()
            await doors[0].wait_closed()
        taken = len(one.inside), len(other.inside)
        for client in clients:
            client.close()
        one.leave()
        other.leave()
        return taken

    first, second = asyncio.run(main())
    assert first + second == 40
    assert abs(first - second) <= 10


def test_a_door_alone_takes_all_and_a_busy_one_is_not_waited_for_long() -> None:
    """The other worker says that it has none and takes none."""

    async def main() -> tuple[int, list[int]]:
        crowd, room = Crowd(2), Room()
        with shared() as listener:
            door = Door(listener, room.take, crowd, 0)
            crowd.note(1, 0)
            clients = await arrive(listener.getsockname()[1], 20)
            counts = crowd.counts()
            door.close()
        for client in clients:
            client.close()
        room.leave()
        return len(room.inside), counts

    assert asyncio.run(main()) == (20, [20, 0])
