"""Nobody is called: every connect of the service, by strace."""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time
from os import kill
from pathlib import Path

import httpx
from place import Found

from service.listener import bind
from tests import artifacts
from tests.service.running import environment

_OUTBOUND = re.compile(r"connect\(.*AF_INET")


def silent(folder: Path, _arguments: argparse.Namespace) -> Found:
    """From the first instruction to the end of the process, with two workers, answers, pages and a new version."""
    strace = shutil.which("strace")
    if strace is None:
        return "skipped: strace is not installed", True
    root, trace = folder / "models", folder / "trace"
    artifacts.publish(root)
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    serve = [sys.executable, "-m", "clipmax.cli", "serve", "--models", str(root), "--port", str(port), "--workers", "2"]
    command = [strace, "-f", "-qq", "-e", "trace=connect", "-o", str(trace), *serve]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment()) as process:
        answered = ask(f"http://127.0.0.1:{port}", root)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        kill(int(children[0]), signal.SIGTERM)
        process.wait(60)
    lines = trace.read_text().splitlines()
    calls = [line for line in lines if _OUTBOUND.search(line)]
    found = f"{len(calls)} outbound connections tried in the life of a service that answered {answered:,} requests"
    return f"{found} (asked: 0; {len(lines)} lines traced)", not calls


def ask(url: str, root: Path) -> int:
    """Requests of several kinds, a new version on the way."""
    answered = 0
    with httpx.Client(base_url=url, timeout=30) as http:
        for _ in range(300):
            try:
                http.get("/v2/health/ready").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        for index in range(1000):
            if index == 500:
                artifacts.publish(root)
                time.sleep(3)
            http.post("/predict", json={"instances": artifacts.rows(1)}).raise_for_status()
            answered += 1
        for path in ("/", "/docs", "/metrics", "/openapi.json", "/v2/models/tiny"):
            answered += http.get(path).status_code == 200
    return answered
