"""What many classes cost: a training step, its memory, and an answer, for K = 10 to 1,000,000.

    python bench/many_classes/run.py [torch chunked sampled serve]    # all: about three minutes, 5 GB of memory

Each head trains in a process of its own, with as many threads as there are cores; memory is the process's peak above
what it had after its imports. Keeps its figures beside this file, and writes table and plot into docs/ from them.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn, optim

from bench import page
from training import answers, clipping, config
from training.features.encoders import Placed
from training.heads import table
from training.many.top import OUTPUTS, Top
from training.model import Classifier
from training.row_adagrad import RowAdagrad

DOCUMENT = page.ROOT / "docs" / "many_classes.md"
RESULTS = Path(__file__).with_name("results.json")
PLOT = page.ROOT / "docs" / "images" / "many_classes.svg"
SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
WIDTH, BATCH, NEGATIVES = 128, 256, 8192
SECONDS, MOST_STEPS, LEAST_STEPS = 0.5, 100, 3
ROWS = (1, 32)
NAMES = {"torch": "torch layer", "chunked": "chunked", "sampled": "sampled", "serve": "served"}


def main() -> None:
    """The measurements asked for, one process each, then table and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; by default all")
    parser.add_argument("--here", action="store_true", help="one of them, in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(_measured(arguments.names[0])))
        return
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in arguments.names or NAMES:
        found[name] = _in_process(name)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if found.keys() == NAMES.keys():
        page.write(DOCUMENT, "bench/many_classes/run.py", _table(found))
        _draw(found)


def _in_process(name: str) -> list[dict[str, float]]:
    command = [sys.executable, __file__, "--here", name]
    result = subprocess.run(command, cwd=page.ROOT, stdout=subprocess.PIPE, check=True, env=_environment())  # ourselves
    rows: list[dict[str, float]] = json.loads(result.stdout)
    return rows


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(page.ROOT)}


def _measured(name: str) -> list[dict[str, float]]:
    torch.set_flush_denormal(True)  # as a run does; torch takes it by position only
    torch.manual_seed(0)
    return list(_served() if name == "serve" else _trained(STEPS[name]))


def _shares(classes: int) -> Tensor:
    """Frequencies that fall like 1 / rank, as words' do."""
    shares = 1.0 / torch.arange(1, classes + 1)
    return shares / shares.sum()


Step = Callable[[Tensor, Tensor], None]


def _of_torch(classes: int) -> Step:
    """`nn.Linear`, `cross_entropy` and fused AdamW, with clipping: what most people write."""
    layer = nn.Linear(WIDTH, classes)
    optimizer = optim.AdamW(layer.parameters(), lr=1e-3, fused=True)

    def step(hidden: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(hidden), labels).backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()

    return step


def _of_head(name: str, classes: int) -> Step:
    """The step of a run: head, row-aware clipping, and the head's optimizer."""
    head = table.build(WIDTH, _shares(classes), config.Head(name=name, negatives=NEGATIVES))
    weights = list(head.parameters())
    optimizer = RowAdagrad(weights, lr=0.1) if head.is_sparse else optim.AdamW(weights, lr=1e-3, fused=True)
    norms = clipping.NormHistory()

    def step(hidden: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        head.loss(hidden, labels).backward()
        clipping.RULES["norm"](weights, 1.0, norms)
        optimizer.step()

    return step


STEPS: dict[str, Callable[[int], Step]] = {
    "torch": _of_torch,
    "chunked": lambda classes: _of_head("chunked", classes),
    "sampled": lambda classes: _of_head("sampled", classes),
}


def _trained(make: Callable[[int], Step]) -> Iterator[dict[str, float]]:
    """Milliseconds a step, median, and megabytes over the imports; sizes rise, so the process's peak is theirs."""
    before = _peak()
    for classes in SIZES:
        step = make(classes)
        hidden = torch.rand(BATCH, WIDTH, requires_grad=True)
        labels = torch.multinomial(_shares(classes), BATCH, replacement=True)
        times = _repeat(functools.partial(step, hidden, labels))
        yield {"classes": classes, "ms": times, "mb": (_peak() - before) / 1e6}
        del step


def _repeat(call: Callable[[], object]) -> float:
    """Median milliseconds of calls for half a second, after one to warm up."""
    call()
    times: list[float] = []
    ends = time.perf_counter() + SECONDS
    while len(times) < LEAST_STEPS or (len(times) < MOST_STEPS and time.perf_counter() < ends):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def _peak() -> int:
    """Bytes; the system counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _served() -> Iterator[dict[str, float]]:
    """Milliseconds a row alone and in a batch of 32, median, in the session alone; one thread, as the service has."""
    generator = np.random.default_rng(0)
    for classes in SIZES:
        session = answers.session(_graph(classes))
        found: dict[str, float] = {"classes": classes}
        for rows in ROWS:
            feeds = {"hidden": generator.random((rows, WIDTH), dtype=np.float32)}
            found[f"ms_{rows}"] = _repeat(functools.partial(session.run, None, feeds)) / rows
        yield found


def _graph(classes: int) -> bytes:
    """The exact graph of a last layer alone, as training exports it."""
    head = table.build(WIDTH, _shares(classes), config.Head(name="full", answer="top"))
    model = Top(Classifier([Placed(nn.Identity(), (0,))], nn.Identity(), head=head), 1.0).eval()
    program = torch.onnx.export(
        model,
        (torch.rand(2, WIDTH),),
        input_names=["hidden"],
        output_names=list(OUTPUTS),
        dynamic_shapes=(({0: torch.export.Dim("batch", min=1)},),),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # dynamo=True always returns a program
    content: bytes = program.model_proto.SerializeToString()
    return content


def _table(found: dict[str, list[dict[str, float]]]) -> str:
    heads = ("torch", "chunked", "sampled")
    setting = f"{torch.get_num_threads()} threads, torch {torch.__version__}; served with one thread, median a row"
    heads_row = " | torch layer | chunked | sampled"
    lines = [
        f"Batch {BATCH}, width {WIDTH}, {NEGATIVES:,} negatives, {setting}.",
        "",
        f"| classes{heads_row} | torch / sampled{heads_row} | served alone | in batches of 32 |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for place, classes in enumerate(SIZES):
        rows = [found[name][place] for name in heads]
        served = found["serve"][place]
        times = " | ".join(f"{_short(row['ms'])} ms" for row in rows)
        memory = " | ".join(f"{row['mb']:,.0f} MB" for row in rows)
        ratio = rows[0]["ms"] / rows[2]["ms"]
        answers_ = " | ".join(f"{_short(served[f'ms_{count}'])} ms" for count in ROWS)
        lines.append(f"| {classes:,} | {times} | {_short(ratio)} | {memory} | {answers_} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three digits."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f}"


def _draw(found: dict[str, list[dict[str, float]]]) -> None:
    mpl.rcParams["svg.hashsalt"] = "many_classes"
    figure, (steps, memory, served) = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    for name in ("torch", "chunked", "sampled"):
        steps.plot(SIZES, [row["ms"] for row in found[name]], marker="o", markersize=3, label=NAMES[name])
        memory.plot(SIZES, [max(row["mb"], 1.0) for row in found[name]], marker="o", markersize=3, label=NAMES[name])
    for count in ROWS:
        times = [row[f"ms_{count}"] for row in found["serve"]]
        served.plot(SIZES, times, marker="o", markersize=3, label="alone" if count == 1 else f"in batches of {count}")
    for axes, title in (
        (steps, "a step, ms"),
        (memory, "memory over the imports, MB"),
        (served, "an answer, ms a row"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="classes", title=title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
