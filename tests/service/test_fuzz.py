"""A short run of bench/fuzz: nothing that a caller sends crashes, hangs or confuses the service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[2] / "bench" / "fuzz" / "run.py"


def test_three_thousand_nearly_right_requests_do_no_harm() -> None:
    """No crash, no hang, no 5xx, and every error is the contract's; some requests are answered."""
    command = [sys.executable, str(FUZZ), "--requests", "3000", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["faults"] == {}
    assert sum(summary["requests"].values()) == 3000
    assert set(summary["requests"]) == {"V1", "V2", "binary", "bytes", "HTTP"}
    assert len(summary["outcomes"]) > 20
    assert summary["outcomes"]["200"] > 300
