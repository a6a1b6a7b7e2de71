"""The running process: signals, the listening port, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import uvicorn

from service import logs
from service.app import Service, create_app
from service.connection.config import Config
from service.connection.protocol import Protocol
from service.door import Crowd, Door
from service.listener import bind, make_room, turn_newcomers_away
from service.settings import Settings, warn_of_unknown
from service.telemetry.ledger import Ledger

_SWEEP_TICKS = 2
"""uvicorn's loop ticks ten times a second; every second tick the connections are looked over."""

_COLLECTOR_THRESHOLD = 50_000
"""Objects made and not freed until the garbage collector looks; Python's default of 700 is for small programs."""

_SWITCH_SECONDS = 0.001

_ARRIVAL_SECONDS = 0.1
_FIRST_REQUEST_WAITS = 10
"""While the service ends, a connection that was accepted last has so many times as long for its first request."""

_HANDSHAKE_SECONDS = 2.0
"""Time for the TLS handshakes of the connections that were accepted last."""

DOOR_SECONDS = 0.3
"""Time in which workers take the connections that were let in before their supervisor turned newcomers away."""


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
    ledger: Ledger | None = None,
    crowd: Crowd | None = None,
    page: int = 0,
) -> int:
    """Serve on a socket that is bound.

    Args:
        settings: of the service.
        listener: taken over; closed at the end.
        supervisor: the process that started this one as one of several workers, if it was so.
        on_serving: called when requests are taken.
        ledger: what workers count in together.
        crowd: how many connections each worker has.
        page: this one's page in both.

    Returns:
        The exit code, as `serve`.

    Raises:
        Refusal: nothing can be served.
    """
    make_room(settings.max_connections)
    app = create_app(settings, ledger=ledger, page=page)
    app.catalog.open()
    _spare_collector()
    _share_lock()
    server = Server(app, settings, supervisor=supervisor, on_serving=on_serving, crowd=crowd, page=page)
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
        self,
        app: Service,
        settings: Settings,
        *,
        supervisor: int | None,
        on_serving: Callable[[], object],
        crowd: Crowd | None,
        page: int,
    ) -> None:
        super().__init__(Config(app, settings, Protocol))
        self.exit_code = 0
        self._supervisor = supervisor
        self._on_serving = on_serving
        self._crowd, self._page = crowd, page
        self._accepting: set[asyncio.Task[None]] = set()
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
        if self._crowd is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            doors: list[Any] = [Door(one, self._take, self._crowd, self._page) for one in sockets or []]
            self.servers = doors
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
            if self._crowd is not None and not self._app.draining.is_on:
                self._crowd.note(self._page, self._take(None))
            self._app.inference.settle()
            self._app.counts.sample(self._app.inference.admission)
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

    def _take(self, connection: socket.socket | None) -> int:
        """Serve a connection, if there is one; how many there are then."""
        if connection is not None:
            task = asyncio.create_task(self._accept(connection))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)
        return len(self.server_state.connections) + len(self._accepting)

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
