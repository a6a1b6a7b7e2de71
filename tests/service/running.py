"""The real command `clipmax serve` as a process on a free port, and bytes over a real socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0
_COMMAND = (sys.executable, "-m", "clipmax.cli")


@dataclass(frozen=True, slots=True)
class Running:
    """One service process that is ready."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> list[dict[str, Any]]:
        """What the process has logged so far."""
        return [json.loads(line) for line in self.lines()]

    def lines(self) -> list[bytes]:
        """The same, as it was written; a line that is still being written is left out."""
        return self.log.read_bytes().split(b"\n")[:-1]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An HTTP answer as it came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of ours, plus those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPMAX_")}
    return kept | variables


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `clipmax` to its end."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@contextmanager
def serving(models: Path, folder: Path, *flags: str, **variables: str) -> Iterator[Running]:
    """`clipmax serve` on a free port, ended by SIGTERM when the block is left.

    Args:
        models: the models folder.
        folder: a place for the log.
        flags: further flags of the command.
        variables: further environment variables.
    """
    log = folder / "service.log"
    arguments = ["serve", "--models", str(models), "--port", "0", "--drain-delay-seconds", "0", *flags]
    with log.open("wb") as stderr:
        process = subprocess.Popen([*_COMMAND, *arguments], stderr=stderr, env=environment(**variables))
    try:
        yield Running(process, log, _port(process, log))
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def exchange(running: Running, request: bytes | Sequence[bytes], *, pause: float = 0.0) -> RawAnswer:
    """Send bytes, piece by piece, and read the first answer to its end."""
    pieces = [request] if isinstance(request, bytes) else request
    with running.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> RawAnswer:
    """The next answer on a connection, and whether the other side closed after it was told to."""
    with connection.makefile("rb") as reader:
        status = int(reader.readline().split()[1])
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", "0")))
        closed = headers.get("connection") == "close" and reader.read() == b""
    return RawAnswer(status, headers, body, closed)


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A POST request in bytes."""
    given = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body) if length is None else length}",
        *(headers or ("Content-Type: application/json",)),
    ]
    return "\r\n".join([*given, "", ""]).encode("latin-1") + body


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"event":"serving"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.05)
    raise AssertionError(f"the service did not start: {log.read_text()}")
