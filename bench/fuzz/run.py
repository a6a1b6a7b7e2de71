"""Nearly right requests against a real service: crashes, hangs, 5xx and errors that are not the contract's are counted.

    python bench/fuzz/run.py [--requests 200000] [--seed 0] [--connections 8] [--record FILE]

The service is `clipmax serve` with one tiny model of each kind of input. A whole request (V1, V2, raw tensors, mutated
bodies) must be answered; of mutated HTTP the service may also close the connection. Ends with 1 if anything is wrong,
and writes the first requests that were answered wrongly to --record.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from grammar import MARKER, Grammar, Sent

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' artifacts and their way to start a service

from clipmax.problems import CATALOGUE
from tests import artifacts
from tests.service.running import Running, serving

HANG_SECONDS = 5.0
MEMBERS = {"type", "title", "status", "detail", "code", "pointer", "request_id", "retryable", "error"}
FLAGS = ("--default-model", "tiny", "--max-body-bytes", "300000", "--max-batch-rows", "100")
TIMES = ("--header-timeout-seconds", "1", "--body-timeout-seconds", "1.5")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*\r\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


@dataclass(slots=True)
class Tally:
    """What was seen, over all connections."""

    requests: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    records: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, sent: Sent, outcome: str, seconds: float) -> None:
        with self.lock:
            self.requests[sent.kind] += 1
            self.codes[outcome] += 1
            self.slowest_seconds = max(self.slowest_seconds, seconds)

    def fault(self, sent: Sent, what: str, answer: Answer | None) -> None:
        with self.lock:
            self.faults[what] += 1
            if len(self.records) < 50:
                body = "" if answer is None else answer.body[:600].decode("latin-1")
                request = sent.request[:4000].decode("latin-1")
                self.records.append({"fault": what, "kind": sent.kind, "request": request, "answer": body})


class Connection:
    """One socket at a time; a request that the service closed it for gets a new one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._reader: BinaryIO | None = None

    def ask(self, sent: Sent) -> Answer | None:
        """The answer, or None where the connection was closed without one.

        Raises:
            TimeoutError: nothing came for `HANG_SECONDS`.
            ValueError: what came is not HTTP.
        """
        if self._socket is None:
            self._open()
        assert self._socket is not None
        assert self._reader is not None
        # Refused before its end, the answer may still be there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(sent.request)
        try:
            answer = read(self._reader, is_head=sent.is_head)
        except ConnectionResetError:
            answer = None
        except BaseException:
            self.close()
            raise
        if answer is None or answer.closes or not sent.is_whole:
            self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None and self._reader is not None:
            self._reader.close()
            self._socket.close()
        self._socket = self._reader = None

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=HANG_SECONDS)
        self._reader = self._socket.makefile("rb")


def read(reader: BinaryIO, *, is_head: bool) -> Answer | None:
    """The next answer that is not an interim one, or None at the end of the connection."""
    while True:
        line = reader.readline(10_000)
        if not line:
            return None
        matched = _STATUS.fullmatch(line)
        if matched is None:
            raise ValueError("not a status line")
        headers = dict(_fields(reader))
        status = int(matched[1])
        if status >= 200:
            break
    length = 0 if is_head or status == 204 else int(headers["content-length"])
    body = reader.read(length)
    if len(body) != length:
        raise ValueError("an answer cut short")
    return Answer(status, headers, body)


def _fields(reader: BinaryIO) -> Iterator[tuple[str, str]]:
    while (line := reader.readline(100_000)) not in {b"\r\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()


def fault_of(sent: Sent, answer: Answer | None) -> str | None:
    """What is wrong with an answer, or None."""
    if answer is None:
        return "no answer" if sent.is_whole else None
    if answer.status >= 500:
        return f"status {answer.status}"
    if answer.status >= 400 and not sent.is_head:
        return _fault_of_error(answer)
    if "x-request-id" not in answer.headers:
        return "no request id"
    if answer.headers.get("content-type") == "application/json" and answer.body:
        return None if _is_json(answer.body) else "an answer that is not JSON"
    return None


def _fault_of_error(answer: Answer) -> str | None:
    if not _is_json(answer.body):
        return "an error that is not JSON"
    document = json.loads(answer.body)
    if set(document) != MEMBERS or document["code"] not in CATALOGUE:
        return "an error of another shape"
    kind = CATALOGUE[document["code"]]
    is_v2 = answer.headers.get("content-type") == "application/json"
    agrees = (
        answer.status == document["status"] == (kind.status_v2 if is_v2 else kind.status),
        is_v2 or answer.headers.get("content-type") == "application/problem+json",
        document["type"] == kind.urn,
        document["title"] == kind.title,
        document["retryable"] is kind.retryable,
        document["error"] == f"{kind.code}: {document['detail']}",
        document["request_id"] == answer.headers.get("x-request-id"),
        isinstance(document["pointer"], str),
        answer.status not in {429, 503} or "retry-after" in answer.headers,
    )
    if not all(agrees):
        return f"an error whose parts disagree ({document['code']}: {agrees.index(False)})"
    if MARKER.encode() in answer.body or b"Traceback" in answer.body:
        return "an error that repeats a value"
    return None


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict | list)
    except ValueError:
        return False


def work(port: int, grammar: Grammar, requests: int, tally: Tally) -> None:
    """Send so many requests over one connection after another."""
    connection = Connection(port)
    for _ in range(requests):
        sent = grammar.next()
        begun = time.monotonic()
        answer, fault = None, None
        try:
            answer = connection.ask(sent)
            fault = fault_of(sent, answer)
        except TimeoutError:
            fault = "hang"
        except ConnectionRefusedError:
            tally.fault(sent, "nobody listens", None)
            return
        except (ValueError, KeyError) as error:
            fault = f"not HTTP: {type(error).__name__}"
        tally.note(sent, _outcome(answer), time.monotonic() - begun)
        if fault is not None:
            tally.fault(sent, fault, answer)
    connection.close()


def _outcome(answer: Answer | None) -> str:
    if answer is None:
        return "closed"
    if answer.status < 400 or not _is_json(answer.body):
        return str(answer.status)
    return str(json.loads(answer.body).get("code", answer.status))


def fuzz(running: Running, *, requests: int, seed: int, connections: int) -> Tally:
    """Send requests of as many seeds as there are connections."""
    tally = Tally()
    share = -(-requests // connections)
    threads = [
        threading.Thread(target=work, args=(running.port, Grammar(seed * 1000 + index), share, tally))
        for index in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if running.process.poll() is not None:
        tally.faults["crash"] += 1
    for what, lines in faults_of_log(running.lines()).items():
        tally.faults[what] = len(lines)
        tally.records.append({"fault": what, "lines": lines[:5]})
    return tally


def faults_of_log(lines: list[bytes]) -> dict[str, list[str]]:
    """Lines that no log reader could read, and those that tell of a failure."""
    texts = [line.decode("utf-8", "backslashreplace") for line in lines]
    found = {
        "log lines that are not JSON": [text for text in texts if not _is_json(text.encode())],
        "failures in the log": [
            text for text in texts if _is_json(text.encode()) and "failed" in json.loads(text)["event"]
        ],
    }
    return {what: lines for what, lines in found.items() if lines}


def publish(models: Path) -> None:
    """One tiny model of each kind of input."""
    artifacts.publish(models, conformal=artifacts.CONFORMAL, abstention=artifacts.ABSTENTION)
    artifacts.publish_table(models)
    artifacts.publish_text(models)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder) / "models")
        with serving(Path(folder) / "models", Path(folder), *FLAGS, *TIMES) as running:
            begun = time.monotonic()
            tally = fuzz(running, requests=arguments.requests, seed=arguments.seed, connections=arguments.connections)
            seconds = time.monotonic() - begun
    if arguments.record is not None:
        arguments.record.write_text(json.dumps(tally.records, indent=1))
    summary = {
        "requests": dict(tally.requests),
        "seconds": round(seconds, 1),
        "slowest_seconds": round(tally.slowest_seconds, 2),
        "outcomes": dict(tally.codes.most_common()),
        "faults": dict(tally.faults),
    }
    print(json.dumps(summary))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
