"""A byte stream → a body, or a refusal as soon as it is known."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from clipmax.problems import Problem
from service.reading import body


class Sender:
    """An ASGI `receive` that gives pieces and counts what was taken."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.taken = 0
        self._pieces = pieces
        self._ends = ends

    async def receive(self) -> MutableMapping[str, Any]:
        if self.taken == len(self._pieces):
            return {"type": "http.disconnect"}
        piece = self._pieces[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": piece, "more_body": self.taken < len(self._pieces) or not self._ends}


def read(sender: Sender, limit: int, headers: dict[bytes, bytes] | None = None) -> bytes:
    return asyncio.run(body.read(sender.receive, headers or {}, limit=limit))


@pytest.mark.parametrize("pieces", [(b"",), (b"abcd",), (b"a", b"", b"bcd"), (b"abcd", b"")])
def test_the_pieces_are_the_body(pieces: tuple[bytes, ...]) -> None:
    """However many there are, up to the limit exactly."""
    assert read(Sender(*pieces), 4) == b"".join(pieces)


def test_a_length_over_the_limit_is_refused_unread() -> None:
    """Not one byte is taken."""
    sender = Sender(b"abcde")
    with pytest.raises(Problem, match="BODY_TOO_LARGE"):
        read(sender, 4, {b"content-length": b"5"})
    assert sender.taken == 0


def test_reading_ends_with_the_piece_that_passes_the_limit() -> None:
    """The rest is never taken."""
    sender = Sender(*[b"ab"] * 100)
    with pytest.raises(Problem, match="BODY_TOO_LARGE"):
        read(sender, 4)
    assert sender.taken == 3
    with pytest.raises(Problem, match="BODY_TOO_LARGE"):
        read(Sender(b"abcde"), 4)


@pytest.mark.parametrize("pieces", [(), (b"ab",)])
def test_a_caller_who_leaves_is_no_request(pieces: tuple[bytes, ...]) -> None:
    """At once or in the middle."""
    with pytest.raises(body.ClientGone):
        read(Sender(*pieces, ends=False), 4)
