"""A head, its sizes and this machine → what a training step will take, and whether there is memory for it."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, optim

from clipmax.refusal import Refusal
from training import parity
from training.config import Run
from training.heads import table
from training.heads.chunked import CHUNK
from training.heads.head import Head
from training.row_adagrad import RowAdagrad

_FLOAT = 4
_TABLES = {"full": 4, "chunked": 4, "sampled": 1, "plif": 4, "sigsoftmax": 4, "mixture": 4, "adaptive": 4}
"""Copies of the class vectors while training: with a dense gradient and two moments of Adam there are four."""

_LOADED = 2
"""Copies beside the model's while the exported graph is loaded: its file's content and the session's."""

_CHECKED_LOGIT = 16
"""Bytes that onnxruntime takes for each logit of the rows that the graph is checked on; measured."""

_LOGITS = {"full": 3, "plif": 10, "sigsoftmax": 4, "mixture": 5}
"""Numbers a logit while training, measured, of a mixture each component's; of the other heads two."""

_GRAPH_LIMIT = 2_000_000_000
"""Bytes of a graph in one file."""

_SLICE = 32_768
_STEPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of the last layer alone; the layers below cost the same as ever."""

    step_seconds: float
    """Forward, backward and the optimizer's step."""
    step_bytes: int
    """While training."""
    peak_bytes: int
    """At the worst moment of the run, with the best epoch's copy and while the exported graph is loaded and checked."""

    def line(self) -> str:
        return (
            f"last layer: about {self.step_seconds * 1e3:,.1f} ms and {self.step_bytes / 1e6:,.0f} MB a step, "
            f"{self.peak_bytes / 1e6:,.0f} MB at most in the whole run"
        )


def expect(run: Run, classes: int) -> Cost:
    """Memory by a formula, time by a few steps on random values: of a dense head on a slice of the classes."""
    return Cost(
        step_seconds=_seconds(run, classes),
        step_bytes=_step_bytes(run, classes),
        peak_bytes=_peak_bytes(run, classes),
    )


def check_memory(run: Run, classes: int, available: int | None = None) -> None:
    """Refuse what cannot end well, before anything is made.

    Args:
        run: with its head chosen.
        classes: K.
        available: bytes; by default what the system says.

    Raises:
        Refusal: more memory than there is, or a graph of more than 2 GB; with the largest K that fits.
    """
    available = available_bytes() if available is None else available
    fitting = bisect_right(range(classes + 1), available, key=lambda count: _peak_bytes(run, count)) - 1
    most = min(fitting, _GRAPH_LIMIT // _table(run, 1))
    if classes > most:
        needed = _peak_bytes(run, classes)
        raise Refusal(
            "configuration",
            "classes",
            expected=f"at most {most:,} with the head {run.head.name} of width {run.model.hidden[-1]} "
            f"in {available / 1e9:.1f} GB of memory and a graph of at most {_GRAPH_LIMIT / 1e9:.0f} GB",
            found=f"{classes:,}, which take {needed / 1e9:.1f} GB",
        )


def available_bytes() -> int:
    """What this process may still take: of the machine and, in a container, of its limit."""
    found = [_meminfo(), _cgroup()]
    return min(value for value in found if value is not None)


def _meminfo() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise Refusal("/proc/meminfo", "MemAvailable", expected="a line of it", found="none")


def _cgroup() -> int | None:
    """Of version 2; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        return None if limit == "max" else int(limit) - int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _step_bytes(run: Run, classes: int) -> int:
    return _table(run, classes) * _TABLES[run.head.name] + _batch(run, classes)


def _peak_bytes(run: Run, classes: int) -> int:
    """The largest of three: training, with a copy of the best weights; loading the graph; running it."""
    table, rows = _table(run, classes), max(parity.batches(classes))
    checked = rows * classes * _CHECKED_LOGIT
    return max(table + _step_bytes(run, classes), (1 + _LOADED) * table, 2 * table + checked)


def _table(run: Run, classes: int) -> int:
    return classes * (run.model.hidden[-1] + 1) * _FLOAT


def _batch(run: Run, classes: int) -> int:
    """Logits and their gradient."""
    head, rows = run.head, run.fit.batch_size
    together = {"chunked": CHUNK, "sampled": head.negatives + rows}.get(head.name, classes)
    copies = _LOGITS.get(head.name, 2) * (head.components if head.name == "mixture" else 1)
    return copies * rows * min(classes, together) * _FLOAT


def _seconds(run: Run, classes: int) -> float:
    """The median of three steps; all but the sampled head's grow with the classes.

    A sample of a slice is dearer where its classes are drawn evenly, as here, than one by uneven frequencies.
    """
    part = min(classes, _SLICE)
    shares = torch.full((part,), 1.0 / part)
    with torch.random.fork_rng(devices=[]):
        head = table.build(run.model.hidden[-1], shares, run.head)
        optimizer = _optimizer(head, run)
        hidden = torch.rand(run.fit.batch_size, run.model.hidden[-1], requires_grad=True)
        labels = torch.randint(part, (run.fit.batch_size,))
        _step(head, optimizer, hidden, labels)
        times = sorted(_step(head, optimizer, hidden, labels) for _ in range(_STEPS))
    return times[_STEPS // 2] * (1.0 if head.is_sparse else classes / part)


def _optimizer(head: Head, run: Run) -> optim.Optimizer:
    if head.is_sparse:
        return RowAdagrad(head.parameters(), lr=run.head.rate)
    return optim.AdamW(head.parameters(), lr=run.optimizer.learning_rate, fused=True)


def _step(head: Head, optimizer: optim.Optimizer, hidden: Tensor, labels: Tensor) -> float:
    started = time.perf_counter()
    optimizer.zero_grad()
    head.loss(hidden, labels).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    optimizer.step()
    return time.perf_counter() - started
