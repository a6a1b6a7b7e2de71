"""The popular article's set-up, reproduced: train beside test after every epoch, three seeds.

    python bench/article/run.py             # about two minutes; writes the table into docs/article.md

Everything comes from examples/mnist/article.toml. The test split is looked at after each epoch only to show it; no
decision depends on it, for the file keeps the last epoch.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import page
from training import config, loop, metrics, run, run_file, runtime
from training.data import sources
from training.data.dataset import Dataset
from training.loop import Progress

DOCUMENT = page.ROOT / "docs" / "article.md"
SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Accuracies in percent after one epoch, and the share of its steps in which the clip changed anything."""

    train: float
    test: float
    clipped: float
    grad_largest: float


def main() -> None:
    settings = run_file.read(page.ROOT / "examples" / "mnist" / "article.toml", ["threads=1"])
    runtime.prepare(settings.threads)
    dataset = sources.read(settings.data)
    runs = [_run(settings.model_copy(update={"seed": seed}), dataset) for seed in SEEDS]
    table = _table(runs)
    print(table)
    page.write(DOCUMENT, "bench/article/run.py", table)


def _run(settings: config.Run, dataset: Dataset) -> list[Epoch]:
    epochs: list[Epoch] = []

    def on_epoch(progress: Progress) -> None:
        epochs.append(_measure(progress, dataset))
        print(f"seed {settings.seed} epoch {len(epochs)}: {epochs[-1]}", flush=True)

    loop.fit(run.start(settings, dataset), settings, dataset, on_epoch=on_epoch)
    return epochs


def _measure(progress: Progress, dataset: Dataset) -> Epoch:
    train, test = (
        100 * metrics.accuracy(loop.logits_of(progress.model, dataset, split), split.labels)
        for split in (dataset.train, dataset.test)
    )
    figures = progress.epochs[-1]
    return Epoch(train=train, test=test, clipped=figures.clipped_share, grad_largest=figures.grad_largest)


def _table(runs: Sequence[Sequence[Epoch]]) -> str:
    seeds = " | ".join(f"seed {seed}: train | test" for seed in SEEDS)
    lines = [f"| epoch | {seeds} | mean: train | test |", "|" + " ---: |" * (2 * len(SEEDS) + 3)]
    for number, epochs in enumerate(zip(*runs, strict=True), start=1):
        cells = [f"{value:.2f}" for epoch in epochs for value in (epoch.train, epoch.test)]
        cells += [f"{statistics.mean(epoch.train for epoch in epochs):.2f}"]
        cells += [f"**{statistics.mean(epoch.test for epoch in epochs):.2f}**"]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    every = [epoch for epochs in runs for epoch in epochs]
    best = max(epoch.test for epoch in every)
    lines += [
        "",
        (
            f"Accuracy in percent. The best test figure of all {len(every)} epochs is {best:.2f}. The value clip of "
            f"1.0 changed a gradient in {statistics.mean(epoch.clipped for epoch in every):.2%} of the steps; the "
            f"largest gradient element of all runs was {max(epoch.grad_largest for epoch in every):.2f}."
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
