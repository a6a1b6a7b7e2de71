"""The port, the log and the orderly end: all on real sockets and processes."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from pathlib import Path

import httpx

from service.listener import bind
from tests import artifacts
from tests.service.load import loading
from tests.service.running import (
    PATIENCE_SECONDS,
    Running,
    command,
    exchange,
    post,
    read_answer,
    serving,
)
from tests.service.test_contract_errors import MARKER

GOOD = json.dumps({"instances": artifacts.rows(1)}).encode()


def test_the_log_is_json_lines_without_anything_that_was_sent(service: Running) -> None:
    """After all that the tests have sent; the first lines say what runs."""
    for body in (MARKER.encode(), GOOD):
        exchange(service, post(f"/{MARKER}", body))
        exchange(service, post("/predict", body))
    events = service.events()
    (started,) = [event for event in events if event["event"] == "serving"]
    assert started["models"] == {"tiny": [1, 2]}
    assert started["provider"] == ["cpu"]
    assert started["threads"] >= 1
    assert MARKER not in service.log.read_text()


def test_a_taken_port_is_one_clear_line(service: Running, models: Path) -> None:
    """And the exit code is 1, before any model is loaded."""
    done = command("serve", "--models", str(models), "--port", str(service.port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("clipmax: settings: CLIPMAX_PORT: expected an address that is free, found")


def test_sigterm_drains(models: Path, tmp_path: Path) -> None:
    """Not ready at once, answers through the delay, then leaves with 0; a request in flight gets its answer."""
    with serving(models, tmp_path, "--drain-delay-seconds", "1.5") as running:
        with running.connect() as slow, httpx.Client(base_url=running.url) as http:
            request = post("/predict", GOOD)
            slow.sendall(request[:-10])
            assert http.get("/v2/health/ready").status_code == 200
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            refused = http.get("/v2/health/ready")
            assert refused.status_code == 503
            assert refused.json()["code"] == "DRAINING"
            assert refused.json()["retryable"]
            assert 1 <= int(refused.headers["retry-after"]) <= 3
            assert http.get("/v2/health/live").status_code == 200
            assert http.post("/predict", content=GOOD, headers={"content-type": "application/json"}).status_code == 200
            time.sleep(1.7)
            slow.sendall(request[-10:])
            answer = read_answer(slow)
            assert answer.status == 200
            assert answer.closed
        assert running.process.wait(PATIENCE_SECONDS) == 0
        assert [event["event"] for event in running.events()][-2:] == ["draining", "stopped"]


def test_no_request_is_lost_while_the_service_ends(models: Path, tmp_path: Path) -> None:
    """Every connection that was taken is answered; answers during the drain tell the client to leave."""
    headers = {"content-type": "application/json"}
    failures: list[Exception] = []
    answered = []

    def ask(url: str) -> None:
        with httpx.Client(base_url=url) as http:
            while True:
                try:
                    answered.append(http.post("/predict", content=GOOD, headers=headers).status_code)
                except httpx.ConnectError:
                    return
                except httpx.HTTPError as error:
                    failures.append(error)
                    return

    with serving(models, tmp_path, "--drain-delay-seconds", "0.5") as running:
        askers = [threading.Thread(target=ask, args=(running.url,)) for _ in range(4)]
        for asker in askers:
            asker.start()
        time.sleep(0.3)
        running.process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join(PATIENCE_SECONDS)
        assert running.process.wait(PATIENCE_SECONDS) == 0
    assert not failures
    assert set(answered) == {200}


def test_a_second_signal_ends_it_at_once(models: Path, tmp_path: Path) -> None:
    """The delay is cut short, and the exit code tells which signal it was."""
    with serving(models, tmp_path, "--drain-delay-seconds", "60") as running:
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(5) == 128 + signal.SIGTERM


def test_ctrl_c_ends_it_without_the_delay(models: Path, tmp_path: Path) -> None:
    """Somebody is waiting at the terminal; the exit code is that of an interruption."""
    with serving(models, tmp_path, "--drain-delay-seconds", "60") as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE_SECONDS) == 130


def test_five_restarts_under_load_lose_nothing(models: Path, tmp_path: Path) -> None:
    """Whoever comes while nobody holds the port is refused at once or let in by the next process."""
    with bind("127.0.0.1", 0) as free:
        port = str(free.getsockname()[1])
    with contextlib.ExitStack() as stack:
        load = None
        for restart in range(6):
            folder = tmp_path / str(restart)
            folder.mkdir()
            with serving(models, folder, "--port", port, "--drain-delay-seconds", "0.1") as running:
                load = load or stack.enter_context(loading(running.port))
                load.wait_for(10)
                running.process.send_signal(signal.SIGTERM)
                assert running.process.wait(PATIENCE_SECONDS) == 0
