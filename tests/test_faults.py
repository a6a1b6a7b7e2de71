"""The bench that counts what a run survives, with few cases of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_kills_full_disks_and_nan_are_survived() -> None:
    """Real kills of real child processes; the whole count is in docs/training.md."""
    few = ["--kills", "1", "--exports", "4", "--disks", "1", "--non-finite", "8"]
    result = subprocess.run(
        [sys.executable, "bench/faults/run.py", *few],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["kills", "exports", "disks", "non-finite"]
