"""How many copies of the class vectors stand beside each other at the worst moment of a whole run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from tests.training import tiny

CLASSES, WIDTH = 20_000, 1024
TABLE = CLASSES * (WIDTH + 1) * 4

RUN = f"""
name = "wide"
threads = 1
[data]
source = "table"
train = "train.csv"
test = "test.csv"
validation_file = "test.csv"
label = "label"
numbers = ["value"]
[model]
hidden = [{WIDTH}]
[head]
name = "sampled"
start = "prior"
negatives = 64
[fit]
epochs = 1
batch_size = 64
"""

SCRIPT = """
import json, re, sys
from pathlib import Path
from training import loop, parity, run, run_file
from training.heads import reachability

def bytes_of(name):
    status = Path("/proc/self/status").read_text()
    return int(re.search(name + r":\\s+([0-9]+)", status)[1]) * 1024

def say(line):
    if line.startswith("last layer"):
        found["said"] = int(re.search(r"([0-9,]+) MB at most", line)[1].replace(",", "")) * 10**6
        found["before"] = bytes_of("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")

found = {}
# Less of what takes time only: rows of the parity check and of a look between epochs, and no linear programs.
parity.BATCHES, loop._TRAIN_SAMPLE_ROWS = (1, 2), 64
reachability.is_reachable = lambda *_, **__: True
run.train(run_file.read(Path(sys.argv[1]), [f"models={sys.argv[2]}"]), say=say)
print(json.dumps({**found, "peak": bytes_of("VmHWM")}))
"""


def _table(path: Path, labels: np.ndarray) -> None:
    pl.DataFrame({"value": labels / CLASSES, "label": [f"class {label}" for label in labels]}).write_csv(path)


def test_a_whole_run_holds_three_copies_of_the_class_vectors(tmp_path: Path) -> None:
    """Model and best epoch, then model, file and session: what is said before training, and no copy more."""
    _table(tmp_path / "train.csv", np.arange(CLASSES))
    _table(tmp_path / "test.csv", np.arange(0, CLASSES, CLASSES // 40) + 1)
    (tmp_path / "run.toml").write_text(RUN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run.toml"), str(tmp_path / "models")],
        capture_output=True,
        text=True,
        timeout=tiny.PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    copies = (found["peak"] - found["before"]) / TABLE
    assert 2.0 < copies < 4.5, found  # the libraries that export loads take part of one
    assert found["said"] / TABLE > 2.9
