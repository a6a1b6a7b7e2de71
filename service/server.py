"""Sockets, signals and time: uvicorn with bounds on slow, huge and malformed requests and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import gc
import http
import logging
import os
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from clipmax.problems import Problem
from service import auth, logs
from service.app import Service, create_app
from service.exchange import ALONE, REPLY, is_v2, render, request_id
from service.listener import BACKLOG, bind, make_room, turn_newcomers_away
from service.settings import Settings, warn_of_unknown
from service.tls import Certificate

_SWEEP_TICKS = 2
"""uvicorn's loop ticks ten times a second; every second tick the connections are looked over."""

_COLLECTOR_THRESHOLD = 50_000
"""Objects made and not freed until the garbage collector looks; Python's default of 700 is for small programs."""

_SWITCH_SECONDS = 0.001

_RATE_GRACE_SECONDS = 5.0
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024 * 1024
_ARRIVAL_SECONDS = 0.1
_FIRST_REQUEST_WAITS = 10
"""While the service ends, a connection that was accepted last has so many times as long for its first request."""

_HANDSHAKE_SECONDS = 2.0
"""Time for the TLS handshakes of the connections that were accepted last."""

_FRAMING_PER_BYTE = 8
"""Bytes of chunk framing that a byte of body may cost: chunks of one byte cost six."""

DOOR_SECONDS = 0.3
"""Time in which workers take the connections that were let in before their supervisor turned newcomers away."""

_BOTH_LENGTHS = ("Transfer-Encoding", "Content-Length")


def serve(settings: Settings) -> int:
    """Serve until a signal says otherwise.

    Returns:
        The exit code: 0 after SIGTERM, 130 after Ctrl-C.

    Raises:
        Refusal: the port is taken, or nothing can be served.
    """
    logs.configure(settings.log_level)
    warn_of_unknown(os.environ)
    with bind(settings.host, settings.port) as listener:
        return run(settings, listener)


def run(
    settings: Settings,
    listener: socket.socket,
    *,
    supervisor: int | None = None,
    on_serving: Callable[[], object] = lambda: None,
) -> int:
    """Serve on a socket that is bound.

    Args:
        settings: of the service.
        listener: taken over; closed at the end.
        supervisor: the process that started this one as one of several workers, if it was so.
        on_serving: called when requests are taken.

    Returns:
        The exit code, as `serve`.

    Raises:
        Refusal: nothing can be served.
    """
    make_room(settings.max_connections)
    app = create_app(settings)
    app.catalog.open()
    _spare_collector()
    _share_lock()
    server = Server(app, settings, supervisor=supervisor, on_serving=on_serving)
    server.run(sockets=[listener])
    return server.exit_code


def _spare_collector() -> None:
    """What is loaded by now stays until the end; looking through it again and again costs every tenth request's time.

    A request leaves no cycles behind, so what is made later can wait longer too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTOR_THRESHOLD)


def _share_lock() -> None:
    """Threads that read long bodies give Python's lock to the event loop sooner than by default (5 ms)."""
    sys.setswitchinterval(_SWITCH_SECONDS)


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

    def load(self) -> None:
        super().load()
        certificate, key = self.settings.tls_certificate_file, self.settings.tls_key_file
        if certificate is not None and key is not None:
            followed = Certificate(certificate, key)
            self.ssl = followed.context
            self.service.looks.append(followed.refresh)


class Server(uvicorn.Server):
    """uvicorn's server with our way to end.

    SIGTERM: readiness says 503 at once, requests are still taken for the drain delay, then the port is left,
    what is in flight finishes, and the exit code is 0. Ctrl-C is the same without the delay, because somebody
    is waiting; its exit code is 130. A second signal ends the process on the spot, unless a supervisor watches
    over it: that one ends workers itself, and whoever signals a whole group (systemd, a terminal) would otherwise
    have each worker hear of the same end twice. A worker whose supervisor has gone ends as by SIGTERM.
    """

    config: Config

    def __init__(
        self, app: Service, settings: Settings, *, supervisor: int | None, on_serving: Callable[[], object]
    ) -> None:
        super().__init__(Config(app, settings))
        self.exit_code = 0
        self._supervisor = supervisor
        self._on_serving = on_serving
        self._app = app
        self._settings = settings

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # a signal handler's signature
        if self._app.draining.is_on:
            if self._supervisor is not None:
                return
            os._exit(128 + sig)
        if sig == signal.SIGINT:
            self.exit_code = 130
        delay = self._settings.drain_delay_seconds if sig == signal.SIGTERM else 0.0
        # Of several workers, the supervisor first closes the door behind all.
        self._app.draining.start(delay if self._supervisor is None else delay + DOOR_SECONDS)
        logs.write(logging.INFO, "draining", signal=signal.Signals(sig).name, delay_seconds=delay)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()[:2]
        logs.write(
            logging.INFO, "serving", host=host, port=port, pid=os.getpid(), **_summary(self._app, self._settings)
        )
        self._on_serving()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._leave_port(sockets or [])
        await super().shutdown(sockets)
        logs.write(logging.INFO, "stopped")

    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.check_time(now)
            self._follow_supervisor()
        return await super().on_tick(counter) or self._app.draining.is_over

    def _follow_supervisor(self) -> None:
        is_alone = self._supervisor is not None and os.getppid() != self._supervisor
        if is_alone and not self._app.draining.is_on:
            self.handle_exit(signal.SIGTERM, None)

    async def _leave_port(self, listeners: Sequence[socket.socket]) -> None:
        """Leave the port without resetting whom the kernel has already let in.

        Connections wait in the backlog of a listening socket until they are accepted; closing it resets them,
        and their requests with them. So nobody new is let in, which a supervisor does for all workers, and accepting
        goes on by hand until there is nobody left. Who was let in last has time to say what he wants.
        """
        if self._supervisor is None:
            for listener in listeners:
                turn_newcomers_away(listener)
            await asyncio.sleep(_ARRIVAL_SECONDS)
        waiting = [listener.dup() for listener in listeners]
        for server in self.servers:
            server.close()
        for listener in waiting:
            with listener:
                await self._accept_all(listener)
        for _ in range(_FIRST_REQUEST_WAITS):
            await asyncio.sleep(_ARRIVAL_SECONDS)
            if not self._has_newcomers():
                return

    def _has_newcomers(self) -> bool:
        """Whether somebody is connected whose first request has not come."""
        connections = self.server_state.connections
        return any(isinstance(one, Protocol) and one.is_new for one in connections)

    async def _accept_all(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        accepted: list[asyncio.Task[None]] = []
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # nobody waits, or there is no descriptor left
                break
            accepted.append(asyncio.create_task(self._accept(connection)))
        if accepted:
            await asyncio.wait(accepted, timeout=_HANDSHAKE_SECONDS)

    async def _accept(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # a handshake that fails is the client's affair
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)

    def _protocol(self) -> Protocol:
        return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _summary(app: Service, settings: Settings) -> dict[str, Any]:
    """What the line at the start says about this process."""
    catalog = app.catalog
    return {
        "models": {name: catalog.serving_versions(name) for name in catalog.served_names()},
        "default_model": catalog.default_model,
        "provider_asked": settings.provider,
        "provider": sorted({catalog.find(name).provider for name in catalog.served_names()}),
        "degraded": catalog.is_degraded,
        "threads": settings.threads,
        "keys": 0 if app.keys is None else len(app.keys.digests),
    }


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
        self.settings = self.config.settings
        self.service = self.config.service
        self.closing = cast("asyncio.Transport", _Closing(self))
        self.url, self.headers = b"", []
        self._enter(Stage.HEADERS)
        if len(self.connections) > self.settings.max_connections:
            detail = f"{self.settings.max_connections} connections are open, which is the limit"
            self._refuse(Problem("CONNECTIONS_FULL", detail, retry_after_seconds=1))

    def data_received(self, data: bytes) -> None:
        stage = self.stage
        if stage is Stage.BODY:
            self._count_framing(data)
        elif stage is Stage.LINGER:
            self._discard(data)
        elif stage is not Stage.DEAF:
            self._read_headers(data)

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
        super().on_message_begin()
        if self.stage is Stage.COMPLETE:
            self._enter(Stage.HEADERS)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.cycle.transport = self.closing
        extensions = {REPLY: functools.partial(_reply, weakref.ref(self.cycle)), ALONE: len(self.tasks) == 1}
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # any JSON-like value is allowed
        if self.service.draining.is_on:
            self.cycle.keep_alive = False
        self._enter(Stage.BODY)

    def on_body(self, body: bytes) -> None:
        self.received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._enter(Stage.COMPLETE)

    def on_response_complete(self) -> None:
        """uvicorn's, but for its timer: idle connections are seen by `check_time`."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.stage is Stage.COMPLETE:
            self.since = self.loop.time()

    # Reading within bounds

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since = self.loop.time()
        self.received = self.framing = 0

    def _read_headers(self, data: bytes) -> None:
        """Feed no more than the headers may be, then see whether they have ended."""
        if self.stage is Stage.COMPLETE:
            self._enter(Stage.HEADERS)
        allowance = self.settings.max_header_bytes - self.received
        self.received += min(len(data), allowance)
        super().data_received(data[:allowance])
        if len(data) <= allowance:
            return
        if self.stage is Stage.HEADERS and self.received == self.settings.max_header_bytes:
            self._refuse(self._headers_too_large())
        else:
            self.data_received(data[allowance:])

    def _headers_too_large(self) -> Problem:
        """With keys on, whoever has not shown one by now is told only that."""
        keys = self.service.keys
        limit = f"the limit is {self.settings.max_header_bytes} bytes"
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
        if self.framing > self.settings.max_header_bytes + _FRAMING_PER_BYTE * self.received:
            self._refuse(Problem("HTTP_INVALID", "the chunks are mostly framing"))

    def _is_slow(self, waited: float) -> bool:
        too_long = waited > self.settings.body_timeout_seconds
        rate = self.settings.min_body_rate
        return too_long or (waited > _RATE_GRACE_SECONDS and self.received < rate * waited)

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


def _reply(
    request: weakref.ref[RequestResponseCycle], status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> bool:
    """The two messages of an answer in one write, where its headers are ours and say how long the body is.

    The request's scope holds this function, so the function must not hold the request: a cycle of references would
    be left to the garbage collector.
    """
    cycle = request()
    if cycle is None or cycle.response_started or not _is_plain(cycle, status):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    if cycle.disconnected:
        return True
    lines = [b"%s: %s\r\n" % field for field in (*cycle.default_headers, *headers)]
    last = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    cycle.transport.write(b"".join((STATUS_LINE[status], *lines, last, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _is_plain(cycle: RequestResponseCycle, status: int) -> bool:
    return status == http.HTTPStatus.OK and not cycle.flow.write_paused and cycle.scope["method"] != "HEAD"


class _Closing:
    """The transport as an answer sees it: writing is the transport's own, to close is up to the protocol."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, protocol: Protocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.end
