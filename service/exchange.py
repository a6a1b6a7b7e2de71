"""One request and its answer: the request id in and out, and the one shape that every error has."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson
from starlette.types import Receive, Scope, Send

from clipmax.problems import Problem
from service.engine.session import Session
from service.telemetry import route
from service.telemetry.telemetry import Silence, Telemetry

if TYPE_CHECKING:  # it needs the extra `otel`
    from service.telemetry.tracing import Trace

KEY = "clipmax.exchange"
"""Where the exchange lies in the ASGI scope, for routes and handlers that are given a starlette request."""

REPLY = "clipmax.reply"
"""An ASGI extension of our server: a whole answer in one call, which costs a fifth of what two messages cost."""

ALONE = "clipmax.alone"
"""An ASGI extension of our server: whether no other request was in progress when this one came."""

WHOLE = "clipmax.whole"
"""An ASGI extension of our server: the body, where all of it has come and none was read, else None."""

Reply = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], bool]
"""Status, headers and body; False where the answer has to be sent in messages."""

_NONE: Mapping[str, Any] = MappingProxyType({})
_JSON, _PROBLEM = b"application/json", b"application/problem+json"
DEADLINE = b"x-deadline-ms"
_DEADLINE_MS = re.compile(rb"[1-9][0-9]{0,8}")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A problem as status, headers and body, for whoever writes it to the wire."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Exchange:
    """What every answer needs of its request.

    Attributes:
        headers: name in lower case → value; of a repeated header the last.
        request_id: the caller's where it is fit to be repeated, else ours.
        started: whether the answer's first line has left.
        extra: headers that every answer carries beside its own.
        client: who asks, where that is asked for; see `named_client`.
        body_bytes: of its body that are in memory.
        rows: that wait or run.
        began: when it came, by `time.perf_counter`.
        routed: the scope in which the router says which route it took, where it was asked.
        session: that answers it, once known.
        status: of its answer, once there is one.
        trace: where it is traced.
    """

    __slots__ = (
        "_deadline",
        "_extensions",
        "_is_counted",
        "_route",
        "_send",
        "_sent_id",
        "_telemetry",
        "began",
        "body_bytes",
        "client",
        "extra",
        "headers",
        "receive",
        "request_id",
        "routed",
        "rows",
        "scope",
        "session",
        "started",
        "status",
        "trace",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, telemetry: Telemetry | Silence) -> None:
        self.began = time.perf_counter()
        self._route = route.NOWHERE
        self.routed: Scope | None = None
        self.session: Session | None = None
        self._telemetry = telemetry
        self.status, self._is_counted = 0, False
        self.trace: Trace | None = None
        self.scope = scope
        self._extensions = scope.get("extensions", _NONE)
        self.receive = receive
        self._send = send
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self._sent_id = request_id(self.headers)
        self.request_id = self._sent_id.decode("ascii")
        self.started = False
        self.extra: Sequence[tuple[bytes, bytes]] = ()
        self.client = b""
        self.body_bytes = self.rows = 0
        self._deadline: float | None = None

    @property
    def route(self) -> int:
        """Number of its route's template."""
        return self._route if self.routed is None else route.number(getattr(self.routed.get("route"), "path", ""))

    @route.setter
    def route(self, number: int) -> None:
        self._route = number

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """ASGI `send` that puts the request id on the answer."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._sent_id), *self.extra]
        elif not message.get("more_body"):
            self._count(self.status)
        await self._send(message)

    def _count(self, status: int) -> None:
        """Right before the last byte is written, so that a worker which is killed has told of nearly every answer."""
        if not self._is_counted:
            self._is_counted, self.status = True, status
            self._telemetry.answered(self, status)

    def read_deadline(self) -> None:
        """Take note of `X-Deadline-Ms`: milliseconds, from now, after which the answer is of no use.

        Raises:
            Problem: PARAMETER.
        """
        given = self.headers.get(DEADLINE)
        if given is None:
            return
        if _DEADLINE_MS.fullmatch(given) is None:
            raise Problem("PARAMETER", "X-Deadline-Ms must be a whole number of milliseconds from 1 to 999999999")
        self._deadline = time.monotonic() + int(given) / 1000

    def seconds_left(self) -> float | None:
        """Until the deadline, if there is one."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def is_alone(self) -> bool:
        """Whether the server had no other request when this one came, where it tells."""
        return bool(self._extensions.get(ALONE))

    def whole_body(self) -> bytes | None:
        """The body without waiting, where the server has all of it; it is read by that."""
        take: Callable[[], bytes | None] | None = self._extensions.get(WHOLE)
        return None if take is None else take()

    def has_left(self) -> bool:
        """Whether the caller has closed the connection: one step of `receive`, which would wait if it had not."""
        receiving = self.receive().__await__()
        try:
            next(receiving)
        except StopIteration as done:
            return bool(done.value["type"] == "http.disconnect")
        receiving.close()
        return False

    def named_client(self) -> bytes:
        """The caller's API key, else its address; for telling callers apart, not for trusting them."""
        key = self.headers.get(b"authorization") or self.headers.get(b"x-api-key")
        address = self.scope["client"]
        return key or (address[0].encode() if address else b"")

    async def reply(self, body: bytes) -> None:
        """Answer 200 with JSON."""
        await self.write(Rendered(200, [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))], body))

    async def fail(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer is already on its way."""
        if not self.started:
            await self.write(self.render(problem))

    def render(self, problem: Problem) -> Rendered:
        self._telemetry.failed(problem.kind.code)
        return render(problem, request_id=self.request_id, v2=is_v2(self.scope["path"]))

    async def write(self, rendered: Rendered) -> None:
        """Answer with what is ready for the wire, at once where the server can do that."""
        reply: Reply | None = self._extensions.get(REPLY)
        if reply is not None and not self.started:
            headers = [*rendered.headers, (b"x-request-id", self._sent_id), *self.extra]
            self._count(rendered.status)
            self.started = reply(rendered.status, headers, rendered.body)
            if self.started:
                return
        await self.send({"type": "http.response.start", "status": rendered.status, "headers": rendered.headers})
        await self.send({"type": "http.response.body", "body": rendered.body})


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that a scope belongs to."""
    exchange: Exchange = scope[KEY]
    return exchange


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """`X-Request-ID` if it is 1 to 128 harmless ASCII characters, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return b"%024x" % random.getrandbits(96)  # to tell requests apart; it protects nothing


def is_v2(path: str) -> bool:
    """Whether a path is one of the Open Inference Protocol, whose errors are plain JSON with 400 for 422."""
    return path == "/v2" or path.startswith("/v2/")


def render(problem: Problem, *, request_id: str, v2: bool) -> Rendered:
    """A problem for the wire.

    A body that is refused for its size is not read to its end, so its connection cannot be used again.
    """
    document = problem.document(request_id, v2=v2)
    body = orjson.dumps(document)
    headers = [(b"content-type", _JSON if v2 else _PROBLEM), (b"content-length", b"%d" % len(body))]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    if problem.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % problem.retry_after_seconds))
    if problem.kind.code == "BODY_TOO_LARGE":
        headers.append((b"connection", b"close"))
    return Rendered(document["status"], headers, body)
