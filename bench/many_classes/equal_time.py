"""Equal wall time at K = 100,000: the full loss, the sampled one, and the sampled one without its correction.

    python bench/many_classes/equal_time.py --data SHARED_DATA    # about four minutes

The task is made from real texts, the questions of BANKING77 and the titles of CSL: from the 12 characters before a
place, which five characters come next, of the 100,000 most frequent such pieces. Rows for testing are every 50th
place. All three train the same network from the same start; the log loss is exact, over all classes.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim

from bench import page
from training import clipping, config
from training.heads.chunked import chunked
from training.heads.full import full
from training.heads.linear import Linear
from training.heads.sampled import Sampled
from training.row_adagrad import RowAdagrad

DOCUMENT = page.ROOT / "docs" / "many_classes.md"
TEXTS = (("banking77/train.csv", "text"), ("banking77/test.csv", "text"), ("csl_category/train.csv", "text"))
CLASSES, WIDTH, BATCH, BUCKETS = 100_000, 128, 256, 2**16
BEFORE, PIECE, TEST_EVERY = 12, 5, 50
TEST_ROWS = 4096
RATES = {"full": (1e-3, 3e-3), "sampled": (0.03, 0.1), "sampled, not corrected": (0.03, 0.1)}


def main() -> None:
    """The task, six trainings of the same length, and a table of each one's better rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77/ and csl_category/")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each training; default: %(default)s")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)  # as a run does; torch takes it by position only
    task = _task(arguments.data)
    lines = ["| loss | rate | steps | exact log loss, test | top-1 |", "|---|--:|--:|--:|--:|"]
    for name, rates in RATES.items():
        found = min((_train(task, name, rate, arguments.seconds) for rate in rates), key=lambda one: one[1])
        lines.append(f"| {name} | {found[3]:g} | {found[0]:,} | {found[1]:.3f} | {found[2]:.2%} |")
        print(lines[-1], flush=True)
    intro = f"{arguments.seconds:g} s each, {len(task[1]):,} training rows, {torch.get_num_threads()} threads.\n\n"
    page.write(DOCUMENT, "bench/many_classes/equal_time.py", intro + "\n".join(lines))


Task = tuple[Tensor, Tensor, Tensor, Tensor]
"""Buckets int64 [N, F] and labels int64 [N] for training, then both for testing."""


def _task(data: Path) -> Task:
    text = "\n".join(row[column] for name, column in TEXTS for row in _rows(data / name))
    pieces = [text[place : place + PIECE] for place in range(BEFORE, len(text) - PIECE)]
    kept = {piece: label for label, (piece, _) in enumerate(Counter(pieces).most_common(CLASSES))}
    places = np.array([place for place, piece in enumerate(pieces) if piece in kept])
    labels = torch.tensor([kept[pieces[place]] for place in places])
    buckets = torch.from_numpy(_buckets(text)[places])
    is_test = torch.arange(len(places)) % TEST_EVERY == 0
    return buckets[~is_test], labels[~is_test], buckets[is_test][:TEST_ROWS], labels[is_test][:TEST_ROWS]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _buckets(text: str) -> np.ndarray:
    """Of each place the hashed 1-, 2- and 3-grams that end at the three and at the last place before it, and more."""
    codes = np.array([ord(character) for character in text], dtype=np.uint64)
    features = []
    for length in (1, 2, 3, 4, 6):
        for distance in (1, 2, 3, 5):
            hashed = np.zeros(len(text) - BEFORE - PIECE, dtype=np.uint64)
            for back in range(length):
                start = BEFORE - distance - back
                if start >= 0:
                    hashed = hashed * np.uint64(1_000_003) + codes[start : start + len(hashed)]
            mixed = (hashed + np.uint64(97 * length + distance)) * np.uint64(0x9E3779B97F4A7C15)
            features.append((mixed >> np.uint64(48)).astype(np.int64))
    return np.stack(features, axis=1)


class _Trunk(nn.Module):
    """Shape: buckets int64 [N, F] → float32 [N, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean", sparse=True)
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, buckets: Tensor) -> Tensor:
        return torch.tanh(self.layer(self.table(buckets)))


def _train(task: Task, name: str, rate: float, seconds: float) -> tuple[int, float, float, float]:
    """(steps, exact log loss, top-1, rate) after so many seconds."""
    buckets, labels, *_ = task
    torch.manual_seed(0)
    trunk, head = _Trunk(), _head(name, torch.bincount(labels, minlength=CLASSES))
    below = optim.AdamW(trunk.layer.parameters(), lr=1e-3, fused=True)
    table = RowAdagrad(trunk.table.parameters(), lr=0.1)
    last = (
        RowAdagrad(head.parameters(), lr=rate)
        if head.is_sparse
        else optim.AdamW(head.parameters(), lr=rate, fused=True)
    )
    weights, norms = [*trunk.parameters(), *head.parameters()], clipping.NormHistory()
    steps, ends = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        rows = torch.randint(len(labels), (BATCH,))
        for optimizer in (below, table, last):
            optimizer.zero_grad()
        head.loss(trunk(buckets[rows]), labels[rows]).backward()
        clipping.RULES["norm"](weights, 1.0, norms)
        for optimizer in (below, table, last):
            optimizer.step()
        steps += 1
    return steps, *_exact(trunk, head, task), rate


def _head(name: str, counts: Tensor) -> Linear:
    shares = counts / counts.sum()
    if name == "full":
        return Linear(name, WIDTH, shares, full)
    loss = Sampled(shares, config.Head().negatives)
    if name == "sampled, not corrected":
        loss._log_expected.zero_()  # noqa: SLF001  # only this comparison leaves the correction out, so it is no option
    return Linear(name, WIDTH, shares, loss, is_sparse=True)


@torch.no_grad()
def _exact(trunk: nn.Module, head: Linear, task: Task) -> tuple[float, float]:
    *_, buckets, labels = task
    hidden = trunk(buckets)
    loss = chunked(hidden, head.weight, head.bias, labels).item()
    right = 0
    for start in range(0, len(labels), BATCH):
        rows = slice(start, start + BATCH)
        right += int((head(hidden[rows]).argmax(dim=1) == labels[rows]).sum())
    return loss, right / len(labels)


if __name__ == "__main__":
    main()
