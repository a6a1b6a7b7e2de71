"""A real HTTP server on a loopback socket that answers as its script says, one step a request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, islice
from typing import Any, Literal

from clipmax.problems import CATALOGUE, Problem


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A good answer to as many rows as come: these labels, again and again."""

    labels: tuple[str, ...]


Step = Reply | Answer | Literal["break off", "silence"]


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Scripted(ThreadingHTTPServer):
    """The last step of the script is repeated; `requests` holds what came, `most_at_once` how many were under way."""

    daemon_threads = True

    def __init__(self, script: list[Step]) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def counting(self) -> Iterator[None]:
        """One more request is under way."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def next_step(self) -> Step:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.path, dict(self.headers), json.loads(body) if body else None)
        self.server.requests.append(request)
        with self.server.counting():
            self._answer(request, self.server.next_step())

    def _answer(self, request: Request, step: Step) -> None:
        match step:
            case "break off":
                self.close_connection = True
            case "silence":
                self.server.closing.wait(10)
                self.close_connection = True
            case Answer(labels):
                self._reply(_predictions(labels, len(request.body["instances"])))
            case Reply() as reply:
                self._reply(reply)

    do_GET = do_POST  # noqa: N815  # the name that http.server looks for

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the overridden name
        """Say nothing."""


@contextmanager
def serving(*script: Step) -> Iterator[Scripted]:
    """A server with this script, on a free port, until the block ends."""
    server = Scripted(list(script))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def answer(*labels: str) -> Answer:
    """A good answer, a row a label; the labels begin again where there are more rows."""
    return Answer(labels)


def _predictions(labels: Sequence[str], rows: int) -> Reply:
    given = islice(cycle(labels), rows)
    predictions = [
        {"label": label, "probability": 0.75, "top": [{"label": label, "probability": 0.75}], "out_of_range": False}
        for label in given
    ]
    body = {"predictions": predictions, "model": "digits", "version": 2, "provider": "cpu", "request_id": "request-1"}
    return Reply(200, json.dumps(body).encode())


def problem(code: str, *, retry_after: str | None = None) -> Reply:
    """A row of the catalogue, as the service writes it."""
    headers = {"Content-Type": "application/problem+json"} | ({"Retry-After": retry_after} if retry_after else {})
    document = Problem(code, "what was expected", pointer="/instances/3").document("request-1")
    return Reply(CATALOGUE[code].status, json.dumps(document).encode(), headers)
