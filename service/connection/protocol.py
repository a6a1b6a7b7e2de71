"""Bytes on a connection → requests of the application, with bounds on slow, huge and malformed ones."""

from __future__ import annotations

import asyncio
import sys
import urllib.parse
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from clipmax.problems import Problem
from service import auth
from service.connection.arrivals import Arrivals
from service.connection.config import Config
from service.connection.coroutine import rest
from service.connection.cycle import Closing, Cycle
from service.connection.refusal import refusal
from service.connection.stage import Stage
from service.exchange import ALONE, REPLY, WHOLE

_RATE_GRACE_SECONDS = 5.0
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024

_FRAMING_PER_BYTE = 8
"""Bytes of chunk framing that a byte of body may cost: chunks of one byte cost six."""

_BOTH_LENGTHS = ("Transfer-Encoding", "Content-Length")


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with bounds.

    Each connection only notes in which stage it is and since when; the server's tick compares that with the
    settings, so a bound costs a request two clock readings and no timer. What is refused here never becomes a
    request of the application, but is answered in the same shape.
    """

    config: Config
    cycle: Cycle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # An answer is written where it is made, not at the end of the loop's turn: what is counted has then left.
        # Under TLS, uvloop would take an empty buffer for a full one, and an answer would wait for ever.
        if self.scheme == "http":
            transport.set_write_buffer_limits(high=0)
        self.settings = self.config.settings
        self.service = self.config.service
        self.closing = cast("asyncio.Transport", Closing(transport, self.end))
        if self.config.arrivals is None:
            self.config.arrivals = Arrivals(self.loop)
        self.arrivals = self.config.arrivals
        self.url, self.headers = b"", []
        self.header_limit = self.settings.max_header_bytes
        self.due: tuple[Cycle, Any] | None = None
        self.running: Cycle | None = None
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
        cycle: Cycle | None = self.cycle
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
        before: Cycle | None = self.cycle
        version = self.parser.get_http_version()
        self.scope = self._scope(version)  # type: ignore[assignment]  # any JSON-like extension is allowed
        keep_alive = version != "1.0" and not self.service.draining.is_on and self.parser.should_keep_alive()
        self.cycle = Cycle(self, self.closing, keep_alive=keep_alive)
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
            self._start_task(*cast("tuple[Cycle, Any]", self.pipeline.pop()))
        elif self.stage is Stage.COMPLETE:
            self.since = self.loop.time()

    # Starting

    def _start(self, cycle: Cycle, app: Any) -> None:  # uvicorn's type is private
        self.due = None
        scope: Any = cycle.scope
        is_alone = self.stage is Stage.COMPLETE and not (self.tasks or (len(self.connections) > 1 and self.arrivals))
        if is_alone and self.service.is_quick(scope["method"], scope["path"]):
            scope["extensions"] = self.extensions_alone
            self.running = cycle
            self._run_here(cycle.run_asgi(app))
        else:
            self._start_task(cycle, app)

    def _start_task(self, cycle: Cycle, app: Any) -> None:  # as above
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def _run_here(self, request: Coroutine[Any, Any, None]) -> None:
        """Without a task, whose start and end take a turn of the loop each. Where it has to wait it becomes one."""
        try:
            awaited = request.send(None)
        except StopIteration:
            return
        task = self.loop.create_task(rest(request, awaited))
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
        return None if self.running is None else self.running.whole()

    def _reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        return self.running is not None and self.running.reply(status, headers, body)

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
        cycle: Cycle | None = self.cycle
        if self.stage is not Stage.BODY and cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self._enter(Stage.DEAF)
        elif self.stage is Stage.BODY and cycle is not None and cycle.response_started:
            self.transport.close()
        else:
            if cycle is not None:
                cycle.abandon()
            self.transport.write(self._refusal(problem))
            self._linger()

    def _refusal(self, problem: Problem) -> bytes:
        default_headers = self.server_state.default_headers
        status, answer = refusal(problem, url=self.url, headers=self.headers, default_headers=default_headers)
        self.service.counts.refused(status, problem.kind.code)
        return answer

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
