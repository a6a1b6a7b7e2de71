"""A service → the same with a real Prometheus beside it, configured as deploy/monitoring has it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from docs.grafana import Prometheus

MONITORING = Path(__file__).parents[1] / "deploy" / "monitoring"
PATIENCE_SECONDS = 60.0


@contextmanager
def prometheus(target: str, folder: Path, *, scrape: float | None = None) -> Iterator[Prometheus]:
    """Debian's, until the block is left.

    Args:
        target: host and port of the service.
        folder: for its configuration, data and log.
        scrape: seconds between two scrapes and between two looks at the rules; as configured if None.
    """
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    if scrape is not None:
        configuration["global"] = {"scrape_interval": f"{scrape:g}s", "evaluation_interval": f"{scrape:g}s"}
    configuration["rule_files"] = [str(MONITORING / "alerts.yml")]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = _free_port()
    places = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command = ["prometheus", *places, f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _await(f"http://127.0.0.1:{port}/-/ready")
        yield Prometheus(
            f"http://127.0.0.1:{port}", float(configuration["global"]["scrape_interval"].removesuffix("s"))
        )
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(url: str) -> None:
    """Until it answers; TimeoutError after a minute."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)
