"""The memory of two large runs: 500,000 rows of 30 columns, and 200,000 texts of about 120 characters.

    python bench/memory/run.py [rows | texts]     # minutes; writes the table into docs/training.md

The data is generated from a fixed seed. `clipmax train` runs in a process of its own, for one epoch of large batches,
up to the published artifact; its standard error is a terminal, as in daily use, so that the progress it shows is kept
too.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bench import page

DOCUMENT = page.ROOT / "docs" / "training.md"
GIGABYTE = 10**9
ROWS, NUMBERS, CATEGORIES = 500_000, 20, 10
TEXTS, WORDS_A_TEXT, VOCABULARY, CLASSES = 200_000, 20, 30_000, 10
TIME_LEFT = re.compile(r"\d+/\d+ \[[\d:]+<(\d+:\d\d)")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run took."""

    name: str
    file_bytes: int
    peak_bytes: int
    progress_lines: int
    """How often the bar stated the time left."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", choices=sorted(KINDS))
    chosen = parser.parse_args().only
    results = [measure(name) for name in KINDS if chosen in (None, name)]
    lines = table(results)
    print(lines)
    if chosen is None:
        page.write(DOCUMENT, "bench/memory/run.py", lines)


def measure(name: str) -> Result:
    """Generate, train, publish; the data and the artifact go with the temporary folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = KINDS[name](folder)
        (folder / "run.toml").write_text(
            f'name = "{name}"\nmodels = "{folder}/models"\nruns = "{folder}/runs"\n'
            f'[fit]\nepochs = 1\nbatch_size = 4096\n[data]\nsource = "table"\ntrain = "{file.name}"\nlabel = "label"\n'
        )
        shown, peak = _run([sys.executable, "-m", "clipmax.cli", "train", str(folder / "run.toml")])
        return Result(
            name=name,
            file_bytes=file.stat().st_size,
            peak_bytes=peak,
            progress_lines=len(TIME_LEFT.findall(shown)),
        )


def _run(command: list[str]) -> tuple[str, int]:
    """What the command wrote to its terminal, and the most bytes that it had resident."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # without a width, no bar is drawn
    child = subprocess.Popen(command, cwd=page.ROOT, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    _, status, usage = os.wait4(child.pid, 0)  # RUSAGE_CHILDREN would mix the runs
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, shown.decode(errors="replace")[-2000:]
    return shown.decode(errors="replace"), usage.ru_maxrss * 1024


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: the other end has closed
        return b""


def write_rows(folder: Path) -> Path:
    """A CSV of numbers, a tenth of them missing, and of words, 4 to 2,000 a column; the label follows some of them."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(ROWS, NUMBERS)).round(5)
    words = [random.integers(0, int(count), ROWS) for count in np.geomspace(4, 2000, CATEGORIES)]
    signal = numbers[:, 0] + 0.5 * numbers[:, 1] * numbers[:, 2] + (words[0] - 1.5) / 2
    columns: dict[str, object] = {"label": np.where(signal + random.normal(size=ROWS) > 0, "yes", "no")}
    for place in range(NUMBERS):
        gaps = random.random(ROWS) < 0.1
        columns[f"number{place}"] = pl.Series(numbers[:, place]).set(pl.Series(gaps), None)
    for place, codes in enumerate(words):
        columns[f"word{place}"] = pl.Series([f"w{code}" for code in codes])
    file = folder / "rows.csv"
    pl.DataFrame(columns).write_csv(file)
    return file


def write_texts(folder: Path) -> Path:
    """A CSV of texts from a vocabulary with the frequencies of a language; a fifth of the words tells the class."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = np.array(["".join(random.choice(letters, random.integers(2, 9))) for _ in range(VOCABULARY)])
    labels = random.integers(0, CLASSES, TEXTS)
    codes = np.minimum(random.zipf(1.2, (TEXTS, WORDS_A_TEXT)), VOCABULARY) - 1
    telling = random.random(codes.shape) < 0.2
    codes[telling] = (codes[telling] // CLASSES * CLASSES + np.repeat(labels, telling.sum(axis=1))) % VOCABULARY
    texts = [" ".join(vocabulary[row]) for row in codes]
    file = folder / "texts.csv"
    pl.DataFrame({"label": [f"class {label}" for label in labels], "text": texts}).write_csv(file)
    return file


def table(results: list[Result]) -> str:
    lines = ["| data | file | peak memory | time left stated |", "| --- | --- | --- | --- |"]
    rows = [
        f"| {TITLES[result.name]} | {result.file_bytes / 10**6:.0f} MB | {result.peak_bytes / GIGABYTE:.2f} GB "
        f"| {result.progress_lines} times |"
        for result in results
    ]
    return "\n".join([*lines, *rows])


KINDS: dict[str, Callable[[Path], Path]] = {"rows": write_rows, "texts": write_texts}
TITLES = {
    "rows": f"{ROWS:,} rows, {NUMBERS} numbers and {CATEGORIES} words each",
    "texts": f"{TEXTS:,} texts of {WORDS_A_TEXT} words",
}


if __name__ == "__main__":
    main()
