"""Several worker processes on one port, and the one that watches over them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import artifacts
from tests.service.load import BODY, HEADERS, loading
from tests.service.running import PATIENCE_SECONDS, Running, command, serving


def events(running: Running, name: str) -> list[dict[str, Any]]:
    return [event for event in running.events() if event["event"] == name]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def whole(running: Running, times: int = 1) -> list[int]:
    """The workers, once there were as many as wanted for the so-manieth time."""
    wait_until(lambda: len(events(running, "workers ready")) >= times)
    return list(events(running, "workers ready")[times - 1]["workers"])


@contextmanager
def two_workers(models: Path, folder: Path, *flags: str) -> Iterator[Running]:
    with serving(models, folder, "--workers", "2", "--watch-seconds", "0.05", *flags) as running:
        whole(running)
        yield running


def test_killing_a_worker_costs_only_its_own_requests(models: Path, tmp_path: Path) -> None:
    """Others go on, and a new worker takes its place."""
    with two_workers(models, tmp_path) as running:
        first, second = whole(running)
        with loading(running.port, clients=4, may_fail=4) as load:  # one request of each client at the most
            load.wait_for(20)
            os.kill(first, signal.SIGKILL)
            load.wait_for(50)
            assert second in whole(running, 2)
            load.wait_for(20)
        (ended,) = events(running, "worker ended")
        assert (ended["worker"], ended["exit_code"]) == (first, -signal.SIGKILL)
        running.process.terminate()
        assert running.process.wait(PATIENCE_SECONDS) == 0


def test_all_workers_follow_the_folder_and_drain_together(tmp_path: Path) -> None:
    """No request is lost when a version changes, nor when everything ends."""
    root = tmp_path / "models"
    artifacts.publish(root)
    with two_workers(root, tmp_path, "--drain-delay-seconds", "0.5") as running:
        with loading(running.port, clients=4) as load:
            artifacts.publish(root)
            wait_until(lambda: len([e for e in events(running, "version gone") if e["version"] == 1]) == 2)
            load.wait_for(10)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(PATIENCE_SECONDS) == 0
        assert set(load.answered) == {1, 2}
        assert [event["exit_code"] for event in events(running, "worker ended")] == [0, 0]


def test_a_signal_to_the_whole_group_drains_as_one_to_the_supervisor(models: Path, tmp_path: Path) -> None:
    """As systemd sends it; a worker that hears of the end twice does not stop at once."""
    with two_workers(models, tmp_path, "--drain-delay-seconds", "0.5") as running:
        workers = whole(running)
        with loading(running.port, clients=4) as load:
            load.wait_for(10)
            for pid in [*workers, running.process.pid]:
                os.kill(pid, signal.SIGTERM)
            assert running.process.wait(PATIENCE_SECONDS) == 0


def test_workers_end_when_their_supervisor_is_gone(models: Path, tmp_path: Path) -> None:
    """Nobody would replace them, and the port is to be free."""
    with two_workers(models, tmp_path) as running:
        workers = whole(running)
        running.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_ctrl_c_and_a_second_signal(models: Path, tmp_path: Path) -> None:
    """130 after the first; the second kills."""
    with two_workers(models, tmp_path) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE_SECONDS) == 130
    with two_workers(models, tmp_path, "--drain-delay-seconds", "60") as running:
        workers = whole(running)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: len(events(running, "draining")) == 2)
        assert httpx.post(f"{running.url}/predict", content=BODY, headers=HEADERS).status_code == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_what_no_worker_can_serve_ends_with_one_reason(tmp_path: Path) -> None:
    """The others are not even tried."""
    done = command("serve", "--models", str(tmp_path), "--port", "0", "--workers", "3")
    assert done.returncode == 1
    assert done.stderr.count("at least one version to serve") == 1
    assert "the first worker could not serve" in done.stderr


def test_workers_that_keep_dying_end_the_service(models: Path, tmp_path: Path) -> None:
    """Five early deaths within a minute; the log says so and the exit code is 1."""
    with two_workers(models, tmp_path) as running:
        deadline = time.monotonic() + PATIENCE_SECONDS
        killed: set[int] = set()
        while running.process.poll() is None and time.monotonic() < deadline:
            for event in events(running, "worker ready"):
                if event["worker"] not in killed:
                    killed.add(event["worker"])
                    os.kill(event["worker"], signal.SIGKILL)
            time.sleep(0.02)
        assert running.process.wait(PATIENCE_SECONDS) == 1
        (reason,) = events(running, "giving up")
        assert "5 workers died within 10 s of their start" in reason["reason"]


def test_a_spare_takes_the_place_of_a_worker_that_died(models: Path, tmp_path: Path) -> None:
    """It has loaded the code already, and was the supervisor's child before anybody died; then there is another."""
    with two_workers(models, tmp_path) as running:
        first, second = whole(running)
        wait_until(lambda: len(spares(running, {first, second})) == 1)  # it starts when the workers are ready
        (spare,) = spares(running, {first, second})
        os.kill(first, signal.SIGKILL)
        assert set(whole(running, 2)) == {second, spare}
        wait_until(lambda: len(spares(running, {second, spare})) == 1)
        os.kill(spares(running, {second, spare})[0], signal.SIGKILL)
        wait_until(lambda: len(events(running, "worker ended")) == 2)
        assert httpx.post(f"{running.url}/predict", content=BODY, headers=HEADERS).status_code == 200


def test_workers_share_the_connections(models: Path, tmp_path: Path) -> None:
    """Those that stay open at the same time, which is what one client's pool is."""
    with two_workers(models, tmp_path) as running:
        clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(24)]
        wait_until(lambda: sum(map(connections, whole(running))) >= 24)
        assert min(map(connections, whole(running))) >= 8
        for client in clients:
            client.close()


def spares(running: Running, workers: set[int]) -> list[int]:
    pid = running.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if int(child) not in workers]


def connections(worker: int) -> int:
    """Sockets that a worker has open, but for the shared one and those of its event loop."""
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "01"}
    links = [str(link.readlink()) for link in Path(f"/proc/{worker}/fd").iterdir()]
    return sum(link.removeprefix("socket:[").rstrip("]") in inodes for link in links)
