"""Seconds of an epoch on MNIST: our loop beside loops written here, one epoch of each in turn, so load hits all alike.

    python bench/training/run.py [--cores 2] [--rounds 7] [--jax /path/to/python]

784-256-128-10, Adam 1e-3, batch 128, value clip 1.0, 57,000 rows, 445 steps. The two JAX loops run in an environment
of their own (`pip install jax keras`), whose Python is given by --jax or CLIPMAX_BENCH_JAX; without it they are left
out. Writes the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import page

HERE = Path(__file__).resolve().parent
DOCUMENT = page.ROOT / "docs" / "performance.md"


@dataclass
class Contender:
    """A loop, the file that holds it, and what each of its epochs took; nothing where it cannot run."""

    title: str
    file: str
    name: str
    epochs: list[dict[str, float]] = field(default_factory=list)

    def median(self, figure: str) -> float:
        return statistics.median(epoch[figure] for epoch in self.epochs)


def contenders() -> list[Contender]:
    return [
        Contender("tutorial: DataLoader, a transform a row", "torch_contenders.py", "tutorial"),
        Contender("torch in memory, fused Adam", "torch_contenders.py", "memory"),
        Contender("the same, denormals flushed", "torch_contenders.py", "flushed"),
        Contender("Keras on JAX", "jax_contenders.py", "keras"),
        Contender("JAX scan by hand", "jax_contenders.py", "scan"),
        Contender("**clipmax**", "torch_contenders.py", "ours"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7, help="counted epochs of each; one more warms up")
    parser.add_argument("--jax", default=os.environ.get("CLIPMAX_BENCH_JAX"), help="Python that has jax and keras")
    parser.add_argument("--dry", action="store_true", help="print only; leave docs/performance.md as it is")
    arguments = parser.parse_args()
    field_ = contenders()
    load = _race(field_, arguments)
    table = _table(field_, arguments, load)
    print(table)
    if not arguments.dry:
        page.write(DOCUMENT, "bench/training/run.py", table)


def _race(field_: Sequence[Contender], arguments: argparse.Namespace) -> float:
    """Run all in turn; the median of the machine's load average, by which a reader can judge the figures."""
    loads = []
    with ExitStack() as stack:
        running = [(each, _start(each, arguments, stack)) for each in field_]
        for turn in range(arguments.rounds + 1):
            loads.append(os.getloadavg()[0])
            for each, child in running:
                if child is not None:
                    figures = _epoch(child)
                    each.epochs += [figures] if turn else []
                    print(f"{each.name} {figures}", file=sys.stderr, flush=True)
    return statistics.median(loads)


def _start(each: Contender, arguments: argparse.Namespace, stack: ExitStack) -> subprocess.Popen[str] | None:
    python = arguments.jax if each.file.startswith("jax") else sys.executable
    if not python:
        return None
    command = [python, str(HERE / each.file), each.name, str(arguments.cores)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    child = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    )
    _answer(child)
    return child


def _epoch(child: subprocess.Popen[str]) -> dict[str, float]:
    assert child.stdin is not None
    child.stdin.write("epoch\n")
    child.stdin.flush()
    return _answer(child)


def _answer(child: subprocess.Popen[str]) -> Any:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"a contender ended: {child.args!r}")
    return json.loads(line)


def _table(field_: Sequence[Contender], arguments: argparse.Namespace, load: float) -> str:
    base = field_[0].median("seconds")
    lines = [
        "| loop | seconds an epoch | × tutorial | processor seconds | loss of the last epoch | peak memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(_row(each, base) for each in field_),
        "",
        (
            f"Medians of {arguments.rounds} epochs of 445 steps, in turn, on {arguments.cores} "
            f"{'core' if arguments.cores == 1 else 'cores'}; load average of the machine meanwhile {load:.1f}. With "
            "validation, a sample of the training rows and the softmax's diagnostics an epoch of clipmax took "
            f"{field_[-1].median('whole_seconds'):.2f} seconds."
        ),
    ]
    return "\n".join(lines)


def _row(each: Contender, base: float) -> str:
    if not each.epochs:
        return f"| {each.title} | not installed | | | | |"
    seconds = each.median("seconds")
    return (
        f"| {each.title} | {seconds:.2f} | {seconds / base:.2f} | {each.median('processor_seconds'):.2f} "
        f"| {each.epochs[-1]['loss']:.3f} | {each.epochs[-1]['peak_mib']:.0f} MiB |"
    )


if __name__ == "__main__":
    main()
