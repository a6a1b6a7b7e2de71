"""Servers as processes of their own, each on one core, and what they use of it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from works import Work

HERE = Path(__file__).parent
SERVER_CORE, CLIENT_CORE = 0, 1
PATIENCE_SECONDS = 60.0
_RUNTIME, _PERIOD = (Path(f"/proc/sys/kernel/sched_rt_{name}_us") for name in ("runtime", "period"))
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers, with all its processes."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float

    def cpu_seconds(self) -> float:
        return sum(self._seconds(fields) for fields in self._stats())

    def resident_bytes(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def _stats(self) -> Iterator[list[str]]:
        """The fields behind the name in /proc/PID/stat of every process of the server's session."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:
                    yield fields

    @staticmethod
    def _seconds(fields: Sequence[str]) -> float:
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def reference(work: Work, models: Path, pythons: dict[str, str]) -> Iterator[Server]:
    """Whom we are compared with, with the same graph: the hand-written app, or a peer in its own environment."""
    versions = (models / work.model).glob("[0-9]*")
    model = str(max(versions, key=lambda path: int(path.name)) / "model.onnx")
    if work.reference in pythons:
        python = pythons[work.reference]
        command = [python, str(HERE / "peers" / f"{work.reference}_server.py"), model]
    else:
        command = [sys.executable, str(HERE / "reference.py"), "--model", model, "--protocol", work.reference]
    with _running(command, work.their_path, work) as server:
        yield server


@contextlib.contextmanager
def service(models: Path, default_model: str) -> Iterator[Server]:
    """Our command as a user starts it, with all that is on by default."""
    flags = ["--models", str(models), "--default-model", default_model, "--threads", "1"]
    command = [str(Path(sys.executable).with_name("clipmax")), "serve", *flags, "--drain-delay-seconds", "0"]
    with _running(command, "/v2/health/ready", None) as server:
        yield server


@contextlib.contextmanager
def _running(command: Sequence[str], path: str, work: Work | None) -> Iterator[Server]:
    port = _free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [*pinned(SERVER_CORE), *command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await(process, f"http://127.0.0.1:{port}{path}", work)
        yield Server(process, port, time.monotonic() - began)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Every process of the session, as not every server ends those that it began."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS / 10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)


def _await(process: subprocess.Popen[bytes], url: str, work: Work | None) -> None:
    """Until it answers, and answers the work where there is one."""
    question = httpx.Request("GET", url)
    if work is not None:
        question = httpx.Request("POST", url, content=work.bodies[0], headers=dict(work.headers))
    deadline = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(timeout=PATIENCE_SECONDS) as http:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                http.send(question).raise_for_status()
                return
            time.sleep(0.01)
    raise AssertionError(f"the server did not answer: {process.args!r}")


def available() -> float:
    """The share of a core that a process in our class may use."""
    if "chrt" not in pinned(SERVER_CORE):
        return 1.0
    runtime, period = int(_RUNTIME.read_text()), int(_PERIOD.read_text())
    return 1.0 if runtime < 0 else runtime / period


@functools.cache
def pinned(core: int) -> list[str]:
    """One core, and the real-time class where that is permitted."""
    real_time = ["chrt", "-f", "1"]
    is_permitted = (
        shutil.which("chrt") and subprocess.run([*real_time, "true"], capture_output=True, check=False).returncode == 0
    )
    return ["taskset", "-c", str(core), *(real_time if is_permitted else [])]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
