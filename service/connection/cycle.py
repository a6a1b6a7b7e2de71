"""One request on a connection and its answer."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable, Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

_OK = int(http.HTTPStatus.OK)  # the member itself is a call away


class Cycle(RequestResponseCycle):
    """uvicorn's request and answer, made of the connection in one step.

    Args:
        protocol: the connection.
        transport: its transport, see `Closing`.
        keep_alive: whether the connection stays open afterwards.
    """

    def __init__(self, protocol: HttpToolsProtocol, transport: asyncio.Transport, *, keep_alive: bool) -> None:
        self.scope = protocol.scope
        self.transport = transport
        self.flow = protocol.flow
        self.logger, self.access_logger, self.access_log = protocol.logger, protocol.access_logger, False
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body, self.more_body = bytearray(), True
        self.response_started = self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0

    def whole(self) -> bytes | None:
        """The body that was not read yet, where all of it is here: what `receive` would give, without a coroutine."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        body, self.body = bytes(self.body), bytearray()
        self.waiting_for_100_continue = False
        self.message_event.clear()
        self.flow.resume_reading()
        return body

    def reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """The two messages of an answer in one write, where its headers are ours and say how long the body is."""
        if self.response_started or not self._is_plain(status):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        if self.disconnected:
            return True
        lines = [b"%s: %s\r\n" % field for field in (*self.default_headers, *headers)]
        last = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], *lines, last, body)))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    def abandon(self) -> None:
        """Nobody waits for the answer, and nothing may be written but ours."""
        self.disconnected = True
        self.waiting_for_100_continue = False
        self.message_event.set()

    def _is_plain(self, status: int) -> bool:
        return status == _OK and not self.flow.write_paused and self.scope["method"] != "HEAD"


class Closing:
    """The transport as an answer sees it: writing is the transport's own, to close is up to the connection."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close
