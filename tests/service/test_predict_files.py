"""`clipmax predict` and a real service that goes away while a file is answered, and comes back."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests import artifacts
from tests.service.running import PATIENCE_SECONDS, Running, command, environment, serving

ROWS = 40_000


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Rows of a table, as a CSV file."""
    path = tmp_path / "people.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "seen", "city"])
        writer.writerows([row % 90, 1_650_000_000 + row, "Rome"] for row in range(ROWS))
    return path


def test_a_file_is_answered_whole_although_the_service_is_killed_on_the_way(people: Path, tmp_path: Path) -> None:
    """By SIGKILL, after the first answers, and started again where it was: each row has one answer, in order."""
    models, output = tmp_path / "models", tmp_path / "answers.csv"
    artifacts.publish_table(models)
    with serving(models, tmp_path) as first:
        asking = ["predict", str(people), "--url", first.url, "--model", "table", "--output", str(output)]
        client = subprocess.Popen(
            [sys.executable, "-m", "clipmax.cli", *asking], env=environment(), stderr=subprocess.PIPE
        )
        _wait_for_answers(first)
        first.process.kill()
        first.process.wait()
    assert client.poll() is None
    with serving(models, tmp_path, "--port", str(first.port)):
        _, errors = client.communicate(timeout=PATIENCE_SECONDS)
    assert (client.returncode, errors) == (0, b"")
    with output.open(newline="") as file:
        assert [int(row["row"]) for row in csv.DictReader(file)] == list(range(ROWS))


def test_a_service_that_was_never_there_is_not_waited_for(people: Path) -> None:
    """Its address may be wrong."""
    began = time.monotonic()
    found = command("predict", str(people), "--url", "http://127.0.0.1:9", "--model", "table")
    assert found.returncode == 1
    assert "http://127.0.0.1:9" in found.stderr
    assert time.monotonic() - began < PATIENCE_SECONDS / 2


def _wait_for_answers(running: Running) -> None:
    """Until some rows are answered; bounded."""
    with httpx.Client(base_url=running.url) as client:
        for _ in range(400):
            page = client.get("/metrics").text
            if any(
                line.startswith("clipmax_predictions_total") and float(line.split()[-1]) > 0
                for line in page.splitlines()
            ):
                return
            time.sleep(0.01)
    raise AssertionError("nobody asked")
