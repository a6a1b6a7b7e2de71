"""Bytes on a connection → requests of the application, with bounds on slow, huge and malformed ones."""

from __future__ import annotations

import asyncio
import enum
import functools
import http
import select
import sys
import types
import urllib.parse
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from clipmax.problems import Problem
from service import auth
from service.app import Service
from service.exchange import ALONE, REPLY, WHOLE, is_v2, render, request_id
from service.listener import BACKLOG
from service.settings import Settings
from service.tls import Certificate

_RATE_GRACE_SECONDS = 5.0
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024

_FRAMING_PER_BYTE = 8
"""Bytes of chunk framing that a byte of body may cost: chunks of one byte cost six."""

_OK = int(http.HTTPStatus.OK)  # the member itself is a call away
_BOTH_LENGTHS = ("Transfer-Encoding", "Content-Length")


class Config(uvicorn.Config):
    """uvicorn's configuration from our settings, and what the protocol needs of ours."""

    def __init__(self, app: Service, settings: Settings) -> None:
        super().__init__(
            app,
            loop="uvloop",
            http=Protocol,
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.drain_timeout_seconds,
            backlog=BACKLOG,
        )
        self.service = app
        self.settings = settings
        self.arrivals: Arrivals | None = None

    def load(self) -> None:
        super().load()
        certificate, key = self.settings.tls_certificate_file, self.settings.tls_key_file
        if certificate is not None and key is not None:
            followed = Certificate(certificate, key)
            self.ssl = followed.context
            self.service.looks.append(followed.refresh)


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


class Stage(enum.Enum):
    """What a connection does with the bytes that arrive."""

    HEADERS = enum.auto()
    BODY = enum.auto()
    COMPLETE = enum.auto()
    """A whole request is read; the next byte begins another."""
    DEAF = enum.auto()
    """Nothing more is read, but an answer is still to come."""
    LINGER = enum.auto()
    """The last answer is written; what still arrives is thrown away, because closing on unread bytes would make
    the kernel reset the connection and take the answer with it."""


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with bounds.

    Each connection only notes in which stage it is and since when; the server's tick compares that with the
    settings, so a bound costs a request two clock readings and no timer. What is refused here never becomes a
    request of the application, but is answered in the same shape.
    """

    config: Config

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # An answer is written where it is made, not at the end of the loop's turn: what is counted has then left.
        # Under TLS, uvloop would take an empty buffer for a full one, and an answer would wait for ever.
        if self.scheme == "http":
            transport.set_write_buffer_limits(high=0)
        self.settings = self.config.settings
        self.service = self.config.service
        self.closing = cast("asyncio.Transport", _Closing(self))
        if self.config.arrivals is None:
            self.config.arrivals = Arrivals(self.loop)
        self.arrivals = self.config.arrivals
        self.url, self.headers = b"", []
        self.header_limit = self.settings.max_header_bytes
        self.due: tuple[RequestResponseCycle, Any] | None = None
        self.running: RequestResponseCycle | None = None
        # The same for every request, so that none is part of a cycle of references, which the collector would have to
        # find: of the requests on a connection one at a time is answered.
        self.extensions = {REPLY: self._reply, WHOLE: self._whole, ALONE: False}
        self.extensions_alone = {**self.extensions, ALONE: True}
        self._enter(Stage.HEADERS)
        if len(self.connections) > self.settings.max_connections:
            detail = f"{self.settings.max_connections} connections are open, which is the limit"
            self._refuse(Problem("CONNECTIONS_FULL", detail, retry_after_seconds=1))

    def connection_lost(self, exc: Exception | None) -> None:
        """Uvicorn tells only the last request of a pipeline; the one that is being answered has to know too."""
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        stage = self.stage
        if stage is Stage.BODY:
            self._count_framing(data)
        elif stage is Stage.LINGER:
            self._discard(data)
        elif stage is not Stage.DEAF:
            self._read_headers(data)
        if self.due is not None:
            self._start(*self.due)

    def shutdown(self) -> None:
        """End this connection, as uvicorn asks: at once, unless an answer is due."""
        if self.stage is Stage.LINGER:
            self.transport.close()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's text is not our shape
        """Called by uvicorn from the `except` around its parser."""
        reason = str(sys.exception())
        if all(name in reason for name in _BOTH_LENGTHS):
            self._refuse(Problem("FRAMING", "send either Content-Length or Transfer-Encoding"))
        else:
            self._refuse(Problem("HTTP_INVALID", "the bytes are not an HTTP/1.1 request"))

    @property
    def is_new(self) -> bool:
        """Whether not even the headers of a first request have come."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None and self.stage is Stage.HEADERS

    def check_time(self, now: float) -> None:
        """Called by the server's tick: refuse a request that does not arrive in time."""
        if self.flow.read_paused:  # what is late is us
            self._enter(self.stage)
            return
        waited = now - self.since
        if self.stage is Stage.HEADERS and waited > self.settings.header_timeout_seconds:
            self._end_slow_headers()
        elif self.stage is Stage.BODY and self._is_slow(waited):
            self._refuse(Problem("TIMEOUT_READ", "the body did not arrive in time"))
        elif self.stage is Stage.LINGER and waited > _LINGER_SECONDS:
            self.transport.close()
        elif self.stage is Stage.COMPLETE and waited > self.settings.keep_alive_seconds:
            self._end_idle()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        if self.stage is Stage.COMPLETE:
            self._enter(Stage.HEADERS)

    def on_headers_complete(self) -> None:
        """uvicorn's, without what we have no use for: upgrades, a root path, a limit that answers in its own words."""
        before: RequestResponseCycle | None = self.cycle
        version = self.parser.get_http_version()
        self.scope = self._scope(version)  # type: ignore[assignment]  # any JSON-like extension is allowed
        keep_alive = version != "1.0" and not self.service.draining.is_on and self.parser.should_keep_alive()
        self.cycle = Cycle(self, keep_alive=keep_alive)
        if before is None or before.response_complete:
            self.due = self.cycle, self.app  # it starts when all bytes at hand are read, perhaps its body too
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        self._enter(Stage.BODY)

    def _scope(self, version: str) -> dict[str, Any]:
        path = self.service.plain_paths.get(self.url)
        raw_path, query = self.url, b""
        if path is None:
            url = httptools.parse_url(self.url)
            raw_path, query = url.path, url.query or b""
            path = urllib.parse.unquote(raw_path.decode("ascii"))
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
            "state": self.app_state.copy(),
            "method": self.parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "extensions": self.extensions,
        }

    def on_body(self, body: bytes) -> None:
        self.received += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
        self._enter(Stage.COMPLETE)

    def on_response_complete(self) -> None:
        """uvicorn's, but for its timer: idle connections are seen by `check_time`."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_task(*self.pipeline.pop())
        elif self.stage is Stage.COMPLETE:
            self.since = self.loop.time()

    # Starting

    def _start(self, cycle: RequestResponseCycle, app: Any) -> None:  # uvicorn's type is private
        self.due = None
        scope: Any = cycle.scope
        is_alone = self.stage is Stage.COMPLETE and not (self.tasks or (len(self.connections) > 1 and self.arrivals))
        if is_alone and self.service.is_quick(scope["method"], scope["path"]):
            scope["extensions"] = self.extensions_alone
            self.running = cycle
            self._run_here(cycle.run_asgi(app))
        else:
            self._start_task(cycle, app)

    def _start_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # as above
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def _run_here(self, request: Coroutine[Any, Any, None]) -> None:
        """Without a task, whose start and end take a turn of the loop each. Where it has to wait it becomes one."""
        try:
            awaited = request.send(None)
        except StopIteration:
            return
        task = self.loop.create_task(_rest(request, awaited))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # Reading within bounds

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since = self.loop.time()
        self.received = self.framing = 0

    def _read_headers(self, data: bytes) -> None:
        """Feed no more than the headers may be, then see whether they have ended."""
        if self.stage is Stage.COMPLETE:
            self._enter(Stage.HEADERS)
        allowance = self.header_limit - self.received
        if len(data) <= allowance:
            self.received += len(data)
            super().data_received(data)
            return
        self.received += allowance
        super().data_received(data[:allowance])
        if self.stage is Stage.HEADERS and self.received == self.header_limit:
            self._refuse(self._headers_too_large())
        else:
            self.data_received(data[allowance:])

    def _headers_too_large(self) -> Problem:
        """With keys on, whoever has not shown one by now is told only that."""
        keys = self.service.keys
        limit = f"the limit is {self.header_limit} bytes"
        if keys is not None and not keys.accept(dict(self.headers)):
            return auth.refused(f"no accepted key was found in the headers; {limit}")
        return Problem("HEADERS_TOO_LARGE", limit)

    def _count_framing(self, data: bytes) -> None:
        """Chunk sizes, chunk extensions and trailers are no body, so its limit does not see them."""
        before = self.received
        super().data_received(data)
        if self.stage is not Stage.BODY:
            return
        self.framing += len(data) - (self.received - before)
        if self.framing > self.header_limit + _FRAMING_PER_BYTE * self.received:
            self._refuse(Problem("HTTP_INVALID", "the chunks are mostly framing"))

    def _is_slow(self, waited: float) -> bool:
        too_long = waited > self.settings.body_timeout_seconds
        rate = self.settings.min_body_rate
        return too_long or (waited > _RATE_GRACE_SECONDS and self.received < rate * waited)

    # What the application is given beside ASGI's messages

    def _whole(self) -> bytes | None:
        """The body that was not read yet, where all of it is here: what `receive` would give, without a coroutine."""
        cycle = self.running
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.waiting_for_100_continue = False
        cycle.message_event.clear()
        self.flow.resume_reading()
        return body

    def _reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """The two messages of an answer in one write, where its headers are ours and say how long the body is."""
        cycle = self.running
        if cycle is None or cycle.response_started or not _is_plain(cycle, status):
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if cycle.disconnected:
            return True
        lines = [b"%s: %s\r\n" % field for field in (*cycle.default_headers, *headers)]
        last = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], *lines, last, body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.end()
        self.on_response_complete()
        return True

    # Ends

    def end(self) -> None:
        """Close after an answer; linger where the rest of its request may still be on the way."""
        if self.stage in {Stage.BODY, Stage.DEAF}:
            self._linger()
        else:
            self.transport.close()

    def _end_idle(self) -> None:
        if self.cycle.response_complete:
            self.transport.close()

    def _end_slow_headers(self) -> None:
        if self.received:
            self._refuse(Problem("TIMEOUT_READ", "the headers did not arrive in time"))
        else:
            self.transport.close()  # connected and silent: nobody waits for an answer

    def _refuse(self, problem: Problem) -> None:
        """Answer outside the application and close, without getting between another answer's bytes."""
        cycle: RequestResponseCycle | None = self.cycle
        if self.stage is not Stage.BODY and cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self._enter(Stage.DEAF)
        elif self.stage is Stage.BODY and cycle is not None and cycle.response_started:
            self.transport.close()
        else:
            if cycle is not None:
                cycle.disconnected = True
                cycle.waiting_for_100_continue = False  # nothing may follow our answer
                cycle.message_event.set()
            self.transport.write(self._raw(problem))
            self._linger()

    def _raw(self, problem: Problem) -> bytes:
        headers = dict(self.headers)
        path = self.url.partition(b"?")[0].decode("latin-1")
        sent_id = request_id(headers)
        answer = render(problem, request_id=sent_id.decode(), v2=is_v2(path))
        self.service.counts.refused(answer.status, problem.kind.code)
        status = http.HTTPStatus(answer.status)
        fields = [*self.server_state.default_headers, *answer.headers, (b"x-request-id", sent_id)]
        lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *(b"%s: %s" % field for field in fields)]
        return b"\r\n".join([*lines, b"connection: close", b"", answer.body])

    def _linger(self) -> None:
        self._enter(Stage.LINGER)
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:  # TLS cannot be closed by halves
            self.transport.close()

    def _discard(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > _LINGER_BYTES:
            self.transport.close()


async def _rest(request: Coroutine[Any, Any, None], awaited: object) -> None:
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


def _is_plain(cycle: RequestResponseCycle, status: int) -> bool:
    return status == _OK and not cycle.flow.write_paused and cycle.scope["method"] != "HEAD"


class Cycle(RequestResponseCycle):
    """uvicorn's request and answer, made of the connection in one step."""

    def __init__(self, protocol: Protocol, *, keep_alive: bool) -> None:
        self.scope = protocol.scope
        self.transport = protocol.closing
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


class _Closing:
    """The transport as an answer sees it: writing is the transport's own, to close is up to the protocol."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, protocol: Protocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.end
