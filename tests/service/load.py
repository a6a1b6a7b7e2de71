"""Clients that ask without a pause while something happens to the service, and check each answer."""

from __future__ import annotations

import functools
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests import artifacts

ROWS = artifacts.rows(2, seed=7)
BODY = json.dumps({"instances": ROWS}).encode()
HEADERS = {"Content-Type": "application/json"}
TOLERANCE = 1e-5


class Load:
    """What the clients have seen.

    Attributes:
        answered: version → answers that equal what that version's graph gives.
        wrong: answers of 200 that do not.
        failed: other statuses, and requests that were sent and got no answer.
        refused: connections that nobody took.
    """

    def __init__(self, port: int, path: str) -> None:
        self.answered: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.failed: list[str] = []
        self.refused = 0
        self._port = port
        self._path = path
        self._stop = threading.Event()

    @property
    def count(self) -> int:
        return sum(self.answered.values())

    def wait_for(self, more: int, patience_seconds: float = 30.0) -> None:
        """Until so many more requests were answered."""
        wanted, deadline = self.count + more, time.monotonic() + patience_seconds
        while self.count < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.count >= wanted, f"{wanted - self.count} answers are missing; {self.failed[:3]}"

    def wait_for_version(self, version: int, patience_seconds: float = 30.0) -> None:
        """Until that version has answered."""
        deadline = time.monotonic() + patience_seconds
        while not self.answered[version] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.answered[version], f"version {version} has not answered; {self.failed[:3]}"

    def stop(self) -> None:
        self._stop.set()

    def ask(self) -> None:
        """One client: keeps its connection as long as the service does."""
        while not self._stop.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    self.refused += 1
                    time.sleep(0.02)
                else:
                    self._ask_on(connection)

    def _ask_on(self, connection: http.client.HTTPConnection) -> None:
        while not self._stop.is_set():
            try:
                connection.request("POST", self._path, BODY, HEADERS)
                answer = connection.getresponse()
                will_close = answer.will_close
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                return
            self._check(answer.status, body)
            if will_close:
                return

    def _check(self, status: int, body: bytes) -> None:
        if status != 200:
            self.failed.append(f"{status} {body[:200]!r}")
            return
        document = json.loads(body)
        version = int(document["version"])
        expected = golden(version)
        for row, prediction in enumerate(document["predictions"]):
            found = {one["label"]: one["probability"] for one in prediction["top"]}
            if any(abs(found[f"label {index}"] - value) > TOLERANCE for index, value in enumerate(expected[row])):
                self.wrong.append(f"version {version} gave {found}")
                return
        self.answered[version] += 1


@functools.cache
def golden(version: int) -> list[list[float]]:
    """The probabilities that the graph of a version of `artifacts` gives to `ROWS`."""
    _, probabilities = artifacts.run(artifacts.model(version).SerializeToString(), ROWS)
    found: list[list[float]] = probabilities.astype(float).tolist()
    return found


@contextmanager
def loading(port: int, *, clients: int = 3, path: str = "/predict", may_fail: int = 0) -> Iterator[Load]:
    """Ask until the block is left; at its end nothing was wrong, and at most `may_fail` requests have failed."""
    load = Load(port, path)
    askers = [threading.Thread(target=load.ask) for _ in range(clients)]
    for asker in askers:
        asker.start()
    try:
        yield load
    finally:
        load.stop()
        for asker in askers:
            asker.join(60)
    assert not load.wrong, load.wrong[:3]
    assert len(load.failed) <= may_fail, load.failed[:3]
